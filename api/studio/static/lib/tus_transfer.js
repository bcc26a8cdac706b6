// An upload whose bytes go to the API: tus 1.0.0 at /v1/uploads.

import { keyHeaders } from "./api.js";
import { unrooted } from "./root.js";
import { Transfer } from "./transfer.js";

const PART_BYTES = 32 * 1024 * 1024;
const headersOf = (more) => ({ "Tus-Resumable": "1.0.0", ...keyHeaders(), ...more });

export class TusTransfer extends Transfer {
  async create() {
    const response = await this.ask("POST", "/v1/uploads", headersOf({
      "Upload-Length": this.file.size,
      "Upload-Metadata": `filename ${base64(this.file.name.slice(-255))}`,
    }));
    return unrooted(response.getResponseHeader("Location"));
  }

  async findOffset() {
    const response = await this.ask("HEAD", this.url, headersOf({}));
    return Number(response.getResponseHeader("Upload-Offset"));
  }

  async sendPart() {
    const part = this.file.slice(this.offset, this.offset + PART_BYTES);
    const response = await this.ask("PATCH", this.url,
      headersOf({ "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" }), part);
    this.offset = Number(response.getResponseHeader("Upload-Offset"));
    return response.getResponseHeader("Upload-Asset");
  }
}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
