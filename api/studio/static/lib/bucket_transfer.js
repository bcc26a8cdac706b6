// An upload whose parts go to the bucket of the store by presigned links; the API sees none of the bytes.

import { Problem, request } from "./api.js";
import { unrooted } from "./root.js";
import { Transfer } from "./transfer.js";

const LINKS = 20;
const REFUSALS = 2;

export class BucketTransfer extends Transfer {
  parts = [];
  refusals = 0;

  async create() {
    const made = await request("/v1/assets/direct/multipart", { method: "POST", json: { name: this.file.name.slice(-255), size: this.file.size } });
    return unrooted(made.url);
  }

  // The bucket says which parts it has; links of parts expire, so they are requested again after a break.
  async findOffset() {
    await this.readLinks();
    return this.parts.length ? this.parts[0].offset : this.file.size;
  }

  async readLinks() {
    this.parts = (await request(`${this.url}/parts?limit=${LINKS}`)).parts;
  }

  async sendPart() {
    if (!this.parts.length) await this.readLinks();
    if (!this.parts.length) return this.complete();
    const part = this.parts[0];
    this.offset = part.offset;
    try {
      await this.ask("PUT", part.upload.url, {}, this.file.slice(part.offset, part.offset + part.size));
    } catch (error) {
      throw this.explained(error);
    }
    this.refusals = 0;
    this.sent = true;
    this.parts.shift();
    this.offset += part.size;
    return this.parts.length ? null : this.sendPart();
  }

  async complete() {
    const { asset } = await request(this.url);
    if (!asset) throw new Problem({ code: "upload_failed", status: 503, detail: "The bucket does not have all parts yet." });
    return asset.uri;
  }

  // A bucket without a CORS rule for this page looks like a broken connection, although the API answers.
  explained(error) {
    if (error.code === "aborted") return error;
    this.parts = [];
    this.refusals += error.status ? 0 : 1;
    if (!this.sent && this.refusals >= REFUSALS) return new Problem({ code: "bucket_refuses", status: 1, detail: "The bucket does not accept uploads of this page." });
    // an expired link is a 403 of the bucket: the next attempt has a new one
    return new Problem({ code: "storage_unavailable", status: 503, detail: "The bucket refused a part." });
  }
}
