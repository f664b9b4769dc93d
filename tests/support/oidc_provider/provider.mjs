// Runs oidc-provider for the tests. The first line of standard input is JSON: {"clients": […], "settings": {…}}. Prints
// one JSON line, {"port": …}, once it listens. Ends when standard input ends, so that it never outlives the tests.
//
// Beside the provider's own paths, under /control:
//   POST /control/settings        {"ttl", "rotate", "require_nonce", "delay_ms", "lose_answers"}, any of them
//   POST /control/refresh-token   {"client_id", "account", "scope", "resource", "jkt"} → {"refresh_token", "grant_id"}
//   POST /control/forget          every access token is unknown from now on → {"forgotten"}
//   GET  /control/stats           {"token_requests", "most_at_once", "by_grant", "statuses", "grants_revoked"}

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

import * as exchange from './exchange.mjs';
import { Store, forgetAccessTokens } from './store.mjs';

const API = 'urn:api';
const SCOPES = 'read write';

// ttl: seconds an access token lives. rotate: refresh tokens are good once; a second use revokes the grant (the provider
// always does that). interactive: people log in and say yes on pages, and with device codes. lose_answers: so many token answers are cut off after the work was done.
const settings = { interactive: false, ttl: 600, rotate: true, require_nonce: false, delay_ms: 0, lose_answers: 0 };
const stats = { token_requests: 0, most_at_once: 0, by_grant: {}, statuses: {}, grants_revoked: 0 };

const input = createInterface({ input: process.stdin });
const start = JSON.parse((await input[Symbol.asyncIterator]().next()).value);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
Object.assign(settings, start.settings);

function configuration() {
  const ttl = () => settings.ttl;
  return {
    adapter: Store,
    clients: start.clients,
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    rotateRefreshToken: () => settings.rotate,
    scopes: ['openid', 'offline_access', 'read', 'write'],
    enabledJWA: {
      clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
      dPoPSigningAlgValues: ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256'],
    },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
    jwks: { keys: start.jwks },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    ttl: { AccessToken: ttl, ClientCredentials: ttl, RefreshToken: 86400, Grant: 86400, IdToken: 600 },
    features: {
      devInteractions: { enabled: settings.interactive },
      deviceFlow: { enabled: settings.interactive },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => settings.require_nonce },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: SCOPES,
          audience: resource,
          accessTokenFormat: resource.endsWith(':jwt') ? 'jwt' : 'opaque',
          ...(resource.endsWith(':jwt') && { jwt: { sign: { alg: 'ES256' } } }),
        }),
        useGrantedResource: () => true,
      },
    },
  };
}

async function mintRefreshToken(provider, { client_id, account = 'ann', scope = SCOPES, resource = API, jkt }) {
  const client = await provider.Client.find(client_id);
  const grant = new provider.Grant({ accountId: account, clientId: client_id });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(resource, scope);
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId: account,
    client,
    grantId,
    gty: 'authorization_code',
    scope: `openid offline_access ${scope}`,
    resource,
    jkt,
    authTime: Math.floor(Date.now() / 1000),
  });
  return { refresh_token: await token.save(), grant_id: grantId };
}

async function body(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return text === '' ? {} : JSON.parse(text);
}

async function control(provider, request, response) {
  const answers = {
    'POST /control/settings': async () => Object.assign(settings, await body(request)),
    'POST /control/refresh-token': async () => mintRefreshToken(provider, await body(request)),
    'POST /control/forget': async () => ({ forgotten: forgetAccessTokens() }),
    'GET /control/stats': async () => stats,
  };
  const answer = answers[`${request.method} ${request.url}`];
  const [status, document] = answer
    ? await answer().then((given) => [200, given], (error) => [500, { error: String(error) }])
    : [404, {}];
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
}

let atOnce = 0;

// Counts token requests, holds them up, and cuts their answers off where a test wants that.
async function token(handle, request, response) {
  stats.token_requests += 1;
  atOnce += 1;
  stats.most_at_once = Math.max(stats.most_at_once, atOnce);
  response.on('close', () => {
    atOnce -= 1;
    stats.statuses[response.statusCode] = (stats.statuses[response.statusCode] ?? 0) + 1;
  });
  if (settings.delay_ms) await new Promise((done) => { setTimeout(done, settings.delay_ms); });
  if (settings.lose_answers > 0) {
    settings.lose_answers -= 1;
    response.end = () => { response.destroy(); return response; };
  }
  handle(request, response);
}

const server = createServer();
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, configuration());
  provider.registerGrantType(exchange.name, exchange.handlerOf(provider, settings), exchange.parameters, ['audience']);
  provider.on('grant.success', (ctx) => {
    const type = ctx.oidc.params.grant_type;
    stats.by_grant[type] = (stats.by_grant[type] ?? 0) + 1;
  });
  provider.on('grant.revoked', () => { stats.grants_revoked += 1; });
  provider.on('server_error', (_ctx, error) => console.error(error));
  const handle = provider.callback();
  server.on('request', (request, response) => {
    if (request.url.startsWith('/control/')) control(provider, request, response);
    else if (request.url === '/token') token(handle, request, response);
    else handle(request, response);
  });
  console.log(JSON.stringify({ port }));
});
