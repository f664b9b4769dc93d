// Everything that the provider remembers. Its own memory adapter forgets all but the newest 1,000 things, and a test of
// refresh token rotation needs to see the thousandth reuse as clearly as the first.

const storage = new Map();
const grants = new Map();

const key = (model, id) => `${model}:${id}`;

export class Store {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    const expiresAt = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    storage.set(key(this.model, id), { payload, expiresAt });
    if (payload.grantId && this.model !== 'Grant') {
      const members = grants.get(payload.grantId) ?? new Set();
      grants.set(payload.grantId, members.add(key(this.model, id)));
    }
  }

  async find(id) {
    const found = storage.get(key(this.model, id));
    return found && found.expiresAt > Date.now() ? found.payload : undefined;
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(code) {
    return this.#findBy('userCode', code);
  }

  #findBy(member, value) {
    for (const [name, { payload }] of storage) {
      if (name.startsWith(`${this.model}:`) && payload[member] === value) return payload;
    }
    return undefined;
  }

  async consume(id) {
    storage.get(key(this.model, id)).payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    storage.delete(key(this.model, id));
  }

  async revokeByGrantId(grantId) {
    for (const member of grants.get(grantId) ?? []) storage.delete(member);
    grants.delete(grantId);
  }
}

/** Every access token is unknown from now on; refresh tokens and grants stay. Returns how many there were. */
export function forgetAccessTokens() {
  let count = 0;
  for (const name of storage.keys()) {
    if (/^(AccessToken|ClientCredentials):/.test(name)) {
      storage.delete(name);
      count += 1;
    }
  }
  return count;
}
