// The request of a form as JSON, as a curl command and as a Python program.

export const jsonText = (body) => JSON.stringify(body, null, 2);

export function curlText(origin, type, body, hasKey) {
  const key = hasKey ? ` \\\n     -H "Authorization: Bearer $MUSETALK_KEY"` : "";
  return `curl -s ${origin}/v1/jobs/${type} \\\n     -H 'Content-Type: application/json'${key} \\\n     -d ${shellQuoted(JSON.stringify(body))}`;
}

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function pythonText(origin, type, body, hasKey) {
  const key = hasKey ? `, os.environ["MUSETALK_KEY"]` : "";
  return `${hasKey ? "import os\n" : ""}from pathlib import Path

from api.client import MusetalkClient

client = MusetalkClient(${JSON.stringify(origin)}${key})
job = client.submit(${JSON.stringify(type)}, ${pythonValue(body, 0)})
job = client.wait(job["id"])
client.download(job["id"], Path("result"))
`;
}

function pythonValue(value, depth) {
  const indent = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map((one) => pythonValue(one, depth)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value);
  if (!entries.length) return "{}";
  const lines = entries.map(([name, one]) => `${indent}${JSON.stringify(name)}: ${pythonValue(one, depth + 1)},`);
  return `{\n${lines.join("\n")}\n${end}}`;
}
