// What a receiver does with a request, to copy: it checks the signature, and answers at once.
import { button, h, say, section } from './dom.js';

const STANDARD = ['entity', 'standard', 'cloudevents', 'cloudevents_binary'];
const CODE = {
  'Node.js': `import { createHmac, timingSafeEqual } from 'node:crypto';

// body: the bytes as they came; secret: whsec_...
export function verify(secret, headers, body) {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const [id, at, signatures] = ['id', 'timestamp', 'signature'].map((h) => headers['webhook-' + h]);
  if (!(Math.abs(Date.now() / 1000 - at) < 300)) return false;
  const mine = createHmac('sha256', key).update(id + '.' + at + '.').update(body).digest();
  return signatures.split(' ').some((s) => {
    const theirs = Buffer.from(s.replace(/^v1,/, ''), 'base64');
    return theirs.length === mine.length && timingSafeEqual(theirs, mine);
  });
}`,
  Python: `import base64, hashlib, hmac, time

# body: the bytes as they came; secret: whsec_...
def verify(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    id, at = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(at)) > 300:
        return False
    mine = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(mine).decode()
    return any(hmac.compare_digest(want, s) for s in headers["webhook-signature"].split())`,
  Go: `// body: the bytes as they came; secret: whsec_...
func verify(secret string, h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	id, at := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	sent, bad := strconv.ParseInt(at, 10, 64)
	if err != nil || bad != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, s := range strings.Fields(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}`,
};

export function receiverCode(profile) {
  if (!STANDARD.includes(profile)) return section('Receiver', h('p', null, `Profile ${profile} signs as its own receivers expect it: docs/profiles.md and docs/receiving.md say how it is checked.`));
  return section('Receiver', h('p', null, 'Answer with 2xx within the timeout, and do the work later. The same webhook-id may come twice.'),
    Object.entries(CODE).map(([language, code]) => h('details', null, h('summary', null, language), h('p', null, button('Copy', () => navigator.clipboard.writeText(code).then(() => say('Copied.')), { 'aria-label': `Copy the code for ${language}` })), h('pre', { tabindex: 0 }, code))));
}
