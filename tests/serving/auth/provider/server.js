// The certified provider (npm oidc-provider) for the tests: its clock can be turned, its keys rotated. It also lets programs at what people have
// elsewhere: the client `elsewhere` has access tokens of four minutes and refresh tokens that count once.
// Usage: node server.js PORT CONTROL_PORT REDIRECT_URI[,REDIRECT_URI...]
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const [port, control, redirects] = process.argv.slice(2);
const real = Date.now;
let shift = 0;
Date.now = () => real() + shift;
const { Provider } = await import('oidc-provider');

const key = () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
};
const issuer = `http://127.0.0.1:${port}`;
const cookies = { keys: ['for the tests'] };
const CALENDAR = 'https://www.googleapis.com/auth/calendar.readonly';
const refreshes = { granted: 0, refused: 0 };
let lastsS = 240;
let isAway = false;

const counted = (provider) => {
  const count = (what) => (context) => { if (context.oidc.params?.grant_type === 'refresh_token') refreshes[what] += 1; };
  return provider.on('grant.success', count('granted')).on('grant.error', count('refused'));
};
const made = () => counted(new Provider(issuer, {
  clients: [
    { client_id: 'oo', client_secret: 'secret & more', redirect_uris: redirects.split(','), grant_types: ['authorization_code'] },
    { client_id: 'public', token_endpoint_auth_method: 'none', redirect_uris: redirects.split(','), grant_types: ['authorization_code'] },
    { client_id: 'elsewhere', client_secret: 'secret of elsewhere', token_endpoint_auth_method: 'client_secret_post', redirect_uris: redirects.split(','), grant_types: ['authorization_code', 'refresh_token'] },
  ],
  jwks: { keys: [key()] },
  cookies,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, introspection: { enabled: true }, revocation: { enabled: true } },
  scopes: ['openid', 'offline_access', CALENDAR],
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  expiresWithSession: () => false,
  ttl: { AccessToken: () => lastsS },
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  findAccount: (_, id) => ({
    accountId: id,
    // One who says `unverified-...` has an address that nobody has looked at.
    claims: async () => ({ sub: id, email: `${id.replace('unverified-', '')}@example.org`, email_verified: !id.startsWith('unverified-') }),
  }),
}));

let current = made();
createServer((request, response) => {
  if (isAway && request.url === '/token') return response.writeHead(503).end();
  return current.callback()(request, response);
}).listen(Number(port), '127.0.0.1');
createServer((request, response) => {
  const asked = new URL(request.url, 'http://127.0.0.1');
  if (asked.pathname === '/clock') shift = Number(asked.searchParams.get('ms'));
  if (asked.pathname === '/rotate') current = made();
  if (asked.pathname === '/lasts') lastsS = Number(asked.searchParams.get('s'));
  if (asked.pathname === '/away') isAway = asked.searchParams.get('is') === 'true';
  response.end(JSON.stringify(refreshes));
}).listen(Number(control), '127.0.0.1', () => console.log('ready'));
