// Token exchange (RFC 8693), which the provider leaves to its users to add: an access token of ours for one of another
// audience, with the same subject.

import { errors } from 'oidc-provider';

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';

export const name = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const parameters = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope'];

export function handlerOf(provider, settings) {
  return async function exchange(ctx) {
    const { params, client } = ctx.oidc;
    if (params.subject_token_type !== TOKEN_TYPE) throw new errors.InvalidRequest('unknown subject_token_type');
    const subject = (await provider.AccessToken.find(params.subject_token))
      ?? (await provider.ClientCredentials.find(params.subject_token));
    if (!subject?.isValid) throw new errors.InvalidRequest('subject_token is not valid');

    const accountId = subject.accountId ?? subject.clientId;
    const grant = new provider.Grant({ accountId, clientId: client.clientId });
    const token = new provider.AccessToken({
      accountId,
      client,
      grantId: await grant.save(),
      gty: 'token_exchange',
      scope: params.scope,
      expiresIn: Math.min(settings.ttl, subject.remainingTTL),
      extra: { exchanged_for: params.audience },
    });
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: TOKEN_TYPE,
      token_type: 'Bearer',
      expires_in: token.expiration,
      scope: params.scope,
    };
  };
}
