import { request } from 'node:http'

/** Tells the counterpart; resolves with its answer. */
export function post(url: string, path: string, key = ''): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', headers: { 'idempotency-key': key } }
    const sent = request(`${url}${encodeURI(path)}`, options, (answer) => {
      let text = ''
      answer.on('data', (bytes: Buffer) => (text += bytes.toString()))
      answer.on('end', () => resolve(JSON.parse(text)))
    })
    sent.on('error', reject)
    sent.end()
  })
}
