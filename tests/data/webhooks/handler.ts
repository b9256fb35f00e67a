// The receiver that a published guide to self-hosting Postal shows; it must work against ours unchanged.
// app/api/postal-webhook/route.ts
export async function POST(req: Request) {
  const body = await req.json()

  switch (body.event) {
    case 'MessageDelivered':
      await markEmailDelivered(body.payload.message.id)
      break
    case 'MessageBounced':
      await handleBounce(body.payload.message.to, body.payload.bounce.type)
      break
    case 'MessageLinkClicked':
      await recordClick(body.payload.message.id, body.payload.url)
      break
    case 'MessageOpened':
      await recordOpen(body.payload.message.id)
      break
    case 'SpamComplaint':
      await unsubscribeUser(body.payload.message.to)
      break
  }

  return new Response('OK')
}

import { createHmac } from 'crypto'

function verifyPostalSignature(payload: string, signature: string, secret: string): boolean {
  const expected = createHmac('sha256', secret).update(payload).digest('hex')
  return signature === expected
}
