// Made for the tests: texts with one secret or one piece of personal data each, and texts as they occur in business that
// have none. Keys are put together here, so that those who look for leaked keys in repositories find none.

const j = (...parts: readonly string[]): string => parts.join('')
const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const of = (n: number, from = letters): string =>
  Array.from({ length: n }, (_, i) => from[(i * 7 + 3) % from.length]).join('')

export interface Sample {
  readonly kind: string
  readonly value: string
  readonly text: string
}
const s = (kind: string, value: string, before: string, after = ''): Sample => ({
  kind,
  value,
  text: before + value + after,
})

export const secrets: readonly Sample[] = [
  s('aws', j('AKIA', 'Q3EGVX7YPZK2M4NL'), 'aws_access_key_id = '),
  s('aws', of(40), 'aws_secret_access_key = "', '"'),
  s('aws', of(40), 'export AWS_SECRET_ACCESS_KEY=', '\n'),
  s('github', j('ghp_', of(36)), 'use ', ' for the push'),
  s('github', j('github_pat_', of(22), '_', of(59)), 'token: '),
  s('gitlab', j('glpat-', of(20)), 'use ', ' to clone'),
  s('slack', j('xoxb-', '123456789012-1234567890123-', of(24)), 'Slack: '),
  s('slack', j('https://hooks.slack.com/services/', 'T0AB1CD2E/B0FG3HI4J/', of(24)), 'post to '),
  s('openai', j('sk-proj-', of(74), 'T3Blbk', 'FJ', of(74)), 'OPENAI_API_KEY='),
  s('openai', j('sk-', of(20), 'T3Blbk', 'FJ', of(20)), 'OPENAI_API_KEY='),
  s('anthropic', j('sk-ant-api03-', of(93), 'AA'), 'key: '),
  s('sendgrid', j('SG.', of(22), '.', of(43)), 'SENDGRID='),
  s('npm', j('npm_', of(36)), '//registry.npmjs.org/:_authToken='),
  s('stripe', j('sk_live_', of(24)), 'Stripe key ', ' for payouts'),
  s('shopify', j('shpat_', of(32, '0123456789abcdef')), 'Shopify: '),
  s('linear', j('lin_api_', of(40)), 'Linear '),
  s('huggingface', j('hf_', of(34, letters.slice(0, 52))), 'token '),
  s(
    'private key',
    j('-----BEGIN RSA PRIVATE KEY-----\nMIIE', `${of(60)}\n`.repeat(12), '-----END RSA PRIVATE KEY-----'),
    'here:\n',
    '\nthanks',
  ),
  s('private key', j('-----BEGIN PRIVATE KEY-----\nMIIE', `${of(60)}\n`.repeat(24), '-----END PRIVATE KEY-----'), ''),
  s('basic auth', j('admin', ':', 's3cretP4ss'), 'see https://', '@erp.mertens-logistik.com/x'),
  s('database', j('postgres://', 'app:', 'h4rdToGuess', '@db.mertens-logistik.com:5432/erp'), 'DATABASE_URL='),
  s('google', j('AIza', of(35)), 'key='),
  s('jwt', j('eyJ', of(33), '.eyJ', of(60), '.', of(43)), 'Authorization: Bearer '),
  s(
    'azure',
    j(of(86), '=='),
    'DefaultEndpointsProtocol=https;AccountName=x;AccountKey=',
    ';EndpointSuffix=core.windows.net',
  ),
  s('telegram', j('123456789:', 'AA', of(33)), 'bot '),
  s('password', 'Tr0ub4dor&3xYz', 'the password is '),
]

export const personal: readonly Sample[] = [
  s('email', 'jane.doe@mertens-logistik.com', 'Write to ', ' today.'),
  s('email', "o'brien+x@sub.hartfield.co.uk", 'cc '),
  s('email', 'finance-team@acme-supplies.io', '{"to":"', '"}'),
  s('email', 'EVE@EVIL.COM', 'Bcc: '),
  s('email', 'jane.doe@example.com', 'this is a fake, a test and a placeholder: '),
  s('phone', '+49 30 901820', 'Tel. '),
  s('phone', '+1 (415) 555-2671', 'call ', ' now'),
  s('phone', '415-555-2671', 'phone: '),
  s('phone', '+44 20 7946 0958', 'Phone '),
  s('phone', '+33 1 70 18 99 00', 'tél. '),
  s('phone', '030/901820', 'Telefon: '),
  s('iban', 'DE89370400440532013000', 'Pay to ', '.'),
  s('iban', 'DE89 3704 0044 0532 0130 00', 'IBAN: '),
  s('iban', 'GB33 BUKB 2020 1555 5555 55', 'our IBAN ', ' changed'),
  s('iban', 'FR1420041010050500013M02606', 'IBAN '),
  s('card', '4539 1488 0343 6467', 'card ', ', exp 12/27'),
  s('card', '5425233430109903', 'credit card '),
  s('card', '3782-822463-10005', 'amex '),
  s('person', '536-22-1234', 'SSN '),
  s('person', '536-90-4399', 'his social security number is '),
  s('person', '36 574 261 809', 'Steuer-ID: '),
  s('ip', '81.2.69.142', 'logged in from '),
  s('ip', '2a00:1450:4001:829::200e', 'from '),
  s('international email', 'müller@mertens.de', 'an ', ' senden'),
  s('iban that is none', 'US133000000121212121212', 'send to '),
  s('date of birth', '1984-07-12', 'date of birth: '),
  s('address', '1600 Pennsylvania Avenue NW', 'lives at '),
  s('name', 'John Smith', 'Dear '),
]

export const clean: readonly string[] = [
  'Invoice INV-2026-00417 of 2026-03-01 over 1,204.50 EUR is due on 31.03.2026.',
  'PO 4500012345, position 10: 250 pcs M8x40 hex bolts at 0.12 = 30.00',
  'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  'run 0197c2f4-8a3b-7c10-9d3e-5a0c1f2e3d4b stopped at step pay#2',
  'EAN 4006381333931, article number 88-3421-7',
  'Version 10.4.2.1 of the driver was released; build 10.0.19045.3570',
  'UST-ID DE136695976, Handelsregister HRB 86786',
  'Order #W2378156 has been delivered; item ids 1151293680 and 4983901480',
  'tracking number 1Z999AA10123456784',
  'The meeting is on 2026-11-21 from 08:40 to 10:50 in room 4.17.',
  'git commit 39c1aac8d4b1f0e6e7a8b9c0d1e2f3a4b5c6d7e8 fixes it',
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'The amounts 12345678901234567890.10 and 0.0000001 are exact.',
  'Please pass the salt; my password manager is fine, and the token bucket is full.',
  'account_id: 1234567890, customer number 77120',
  '{"error":{"code":"TOOL_FAILED","message":"erp.pay answered 400"},"at":1763715600123}',
  'https://erp.mertens-logistik.com/api/v2/orders/4500012345?expand=lines&limit=50',
  'see https://github.com/acme/repo/blob/main/src/index.ts#L10-L40',
  'Temperature 21.5 C, pressure 1013.25 hPa, 48.137154, 11.576124',
  'ISBN 978-3-16-148410-0 and ISSN 2049-3630',
  'a refund of 11.579999999999927 was asked for',
  'Net 30; discount 2% within 10 days; VAT 19% on 1,012.18 = 192.31; 7 + 8 = 15',
  'The quick brown fox jumps over the lazy dog. Nothing private here.',
  "SELECT id, total FROM invoices WHERE vendor = 17 AND status = 'open' LIMIT 100",
  'Serial 5CD1234XYZ, batch 20260117-A, Lot 33',
  'npm install @types/node@24.19.2 and import { x } from "@acme/tools"',
  'expected sk-learn version 1.5; npm_config_cache is set; AKIA is a prefix',
]
