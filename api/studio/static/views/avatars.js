// Prepared avatars: the face's source, its engine and frames, whether it is cached, and deletion.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { ago, bytes, dateTime } from "../lib/format.js";
import { useMediaUrl } from "../lib/media_url.js";
import { Link } from "../lib/router.js";
import { ActionButton, Empty, Loading, ProblemBox, UserText, announce } from "../components/basics.js";

export function Avatars() {
  const [avatars, setAvatars] = useState(null);
  const [next, setNext] = useState(null);
  const [cached, setCached] = useState({});
  const [problem, setProblem] = useState(null);
  const read = async (cursor) => {
    try {
      const page = await request(`/v1/avatars?limit=24${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      setAvatars((now) => [...(cursor ? now : []), ...page.avatars]);
      setNext(page.next_cursor);
      for (const one of page.avatars) {
        request(`/v1/avatars/${one.avatar}`).then((found) => setCached((now) => ({ ...now, [one.avatar]: found.ready })), () => {});
      }
    } catch (error) {
      setProblem(error);
    }
  };
  useEffect(() => {
    read(null);
  }, []);
  const remove = async (avatar) => {
    setProblem(null);
    try {
      await request(`/v1/avatars/${avatar}`, { method: "DELETE" });
      setAvatars((now) => now.filter((one) => one.avatar !== avatar));
      announce("The avatar is deleted");
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<section class="list-view">
    <div class="section-head"><h1>Avatars</h1><${Link} class="button" to="/studio/new?type=prepare_avatar">Prepare an avatar<//></div>
    <p class="quiet">An avatar is a face that was prepared once. Later jobs on the same file start without that step.</p>
    <${ProblemBox} problem=${problem} />
    ${!avatars && !problem && html`<${Loading} what="Loading avatars" />`}
    ${avatars && !avatars.length && html`<${Empty} title="No avatars yet"><p>Every lip-sync or portrait job prepares one.</p><${Link} class="button primary" to="/studio/new">New job<//><//>`}
    ${avatars && avatars.length > 0 && html`<ul class="cards">${avatars.map((one) => html`<${AvatarCard} key=${one.avatar} avatar=${one} ready=${cached[one.avatar]} onDelete=${() => remove(one.avatar)} />`)}</ul>`}
    ${next && html`<p><${ActionButton} action=${() => read(next)}>Show more<//></p>`}
  </section>`;
}

// The face; jobs of earlier versions left no picture.
function Face({ avatar }) {
  const [url] = useMediaUrl(avatar.has_picture ? `/v1/avatars/${avatar.avatar}/picture` : "");
  const [lost, setLost] = useState(false);
  if (!url || lost) return html`<span class="face-thumb" aria-hidden="true"></span>`;
  return html`<img class="face-thumb" src=${url} alt="" loading="lazy" onError=${() => setLost(true)} />`;
}

function AvatarCard({ avatar, ready, onDelete }) {
  const [asked, setAsked] = useState(false);
  return html`<li class="card avatar">
    <div class="avatar-head"><${Face} avatar=${avatar} /><h2><${UserText} text=${avatar.source} limit=${120} /></h2></div>
    <dl class="facts">
      <dt>Engine</dt><dd>${avatar.engine}</dd>
      <dt>Picture</dt><dd>${avatar.width} × ${avatar.height}${avatar.is_still ? ", still" : `, ${avatar.fps} fps`}</dd>
      <dt>Frames with a face</dt><dd>${avatar.with_face} of ${avatar.frames}</dd>
      <dt>Size</dt><dd>${avatar.bytes === null ? "unknown" : bytes(avatar.bytes)}</dd>
      <dt>Prepared</dt><dd title=${dateTime(avatar.prepared_at)}>${ago(avatar.prepared_at)}</dd>
      <dt>Cached</dt><dd>${ready === undefined ? "…" : ready ? "yes" : "no, the next job prepares it"}</dd>
    </dl>
    <div class="actions">${asked
      ? html`<${ActionButton} kind="danger small" scope="cancel" action=${onDelete}>Delete now<//><button type="button" class="button small" onClick=${() => setAsked(false)}>Keep</button>`
      : html`<${ActionButton} kind="small" scope="cancel" action=${() => setAsked(true)}>Delete<//>`}</div>
  </li>`;
}
