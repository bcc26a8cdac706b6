// The one import of the vendored library, so that its file name occurs once.
export { html, render, Component, createContext, useContext, useEffect, useLayoutEffect, useMemo, useRef,
  useState, useErrorBoundary } from "../vendor/htm-preact-standalone.js";
