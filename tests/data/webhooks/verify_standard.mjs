// `node verify_standard.mjs SECRET` with {"headers", "body"} on standard input: prints what the npm package
// standardwebhooks says: "ok", or its error.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'

const require = createRequire(`${process.env.EDGEPOST_TEST_NODE_MODULES}/`)
const { Webhook } = require('standardwebhooks')
const { headers, body } = JSON.parse(readFileSync(0, 'utf8'))
try {
  new Webhook(process.argv[2]).verify(body, headers)
  console.log('ok')
} catch (error) {
  console.log(error.message)
}
