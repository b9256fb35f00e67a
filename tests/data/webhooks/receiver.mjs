// Serves the handler on a loopback port: `node receiver.mjs HANDLER SECRET`; prints its port, then a line of JSON for
// each request: what the handler did and whether the signature was right.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createHmac } from 'node:crypto'

const [, , file, secret] = process.argv
// Node 20 does not read TypeScript: the annotations of this one file are taken out, nothing else.
const source = readFileSync(file, 'utf8')
  .replace(/: (Request|string|boolean)/g, '')
  .replace("import { createHmac } from 'crypto'", '')
  .replace('export async function POST', 'async function POST')
let done = []
const note = name => async (...values) => { done.push([name, ...values]) }
const names = ['markEmailDelivered', 'handleBounce', 'recordClick', 'recordOpen', 'unsubscribeUser']
const { POST, verifyPostalSignature } = new Function('createHmac', ...names,
  `${source}; return { POST, verifyPostalSignature }`)(createHmac, ...names.map(note))

const server = createServer((request, response) => {
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', async () => {
    const text = Buffer.concat(parts).toString('utf8')
    done = []
    const answer = await POST(new Request('http://receiver.test/', { method: 'POST', body: text }))
    const verified = verifyPostalSignature(text, request.headers['x-edgepost-signature'], secret)
    process.stdout.write(JSON.stringify({ done, verified, event: JSON.parse(text).event }) + '\n')
    response.writeHead(answer.status)
    response.end(await answer.text())
  })
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
