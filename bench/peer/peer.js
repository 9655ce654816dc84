'use strict';

// The usual design for sending WhatsApp messages, to measure beside sendlog:
// an Express API puts a job into a BullMQ queue on Redis, a worker in another
// process calls the Cloud API and writes what came of it. Jobs have five
// attempts with exponential backoff; access tokens are kept under AES-256-GCM;
// an idempotency key is unique within its tenant and names the job.
//
// Such a system keeps messages in MongoDB. Here each process keeps them in its
// own memory, which favours this program: no round trips, nothing on disk.
//
//   node peer.js web|worker     settings: REDIS_PORT, GRAPH_URL (worker)
//
// Each prints "listens http://127.0.0.1:<port>" when it takes requests.

const crypto = require('node:crypto');
const express = require('express');
const Redis = require('ioredis');
const { Queue, Worker } = require('bullmq');

const QUEUE = 'whatsapp-send-queue';
const CONCURRENCY = 64; // calls at once; BullMQ's own default is one
const MASTER_KEY = Buffer.from('0123456789abcdef0123456789abcdef');

const connection = new Redis({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null });

function encrypt(text) {
  const iv = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv('aes-256-gcm', MASTER_KEY, iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64');
}

function decrypt(text) {
  const all = Buffer.from(text, 'base64');
  const decipher = crypto.createDecipheriv('aes-256-gcm', MASTER_KEY, all.subarray(0, 12));
  decipher.setAuthTag(all.subarray(12, 28));
  return Buffer.concat([decipher.update(all.subarray(28)), decipher.final()]).toString('utf8');
}

function listen(app) {
  const server = app.listen(0, '127.0.0.1', () => console.log(`listens http://127.0.0.1:${server.address().port}`));
}

function web() {
  const queue = new Queue(QUEUE, { connection });
  const tenants = new Map();
  const messages = new Map(); // by tenant and idempotency key: the unique index
  const app = express();
  app.use(express.json());

  app.post('/tenants/register', (req, res) => {
    const { name, phoneNumberId, accessToken } = req.body;
    const tenant = { id: crypto.randomUUID(), name, phoneNumberId, accessTokenEnc: encrypt(accessToken) };
    tenants.set(tenant.id, tenant);
    res.status(201).json({ id: tenant.id });
  });

  app.post('/tenants/:tenantId/send', async (req, res) => {
    const tenant = tenants.get(req.params.tenantId);
    const { to, text, idempotency_key: key = crypto.randomUUID() } = req.body;
    if (!tenant) return res.status(404).json({ error: 'no such tenant' });
    if (!/^\+[0-9x]{6,15}$/.test(to ?? '') || !text) return res.status(400).json({ error: 'to and text are required' });
    const unique = `${tenant.id}-${key}`;
    let message = messages.get(unique);
    if (!message) {
      message = { id: crypto.randomUUID(), tenantId: tenant.id, direction: 'OUT', type: 'text', body: text, to, idempotencyKey: key, status: 'queued' };
      messages.set(unique, message);
      await queue.add('send', { message, phoneNumberId: tenant.phoneNumberId, accessTokenEnc: tenant.accessTokenEnc },
        { jobId: unique, attempts: 5, backoff: { type: 'exponential', delay: 1000 } });
    }
    return res.status(202).json({ id: message.id, status: 'queued' });
  });
  listen(app);
}

function worker() {
  const statuses = new Map(); // by message: status, wamid and when that was written
  new Worker(QUEUE, async (job) => {
    const { message, phoneNumberId, accessTokenEnc } = job.data;
    if (statuses.get(message.id)?.status === 'sent') return;
    const answer = await fetch(`${process.env.GRAPH_URL}/v25.0/${phoneNumberId}/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${decrypt(accessTokenEnc)}`, 'content-type': 'application/json' },
      body: JSON.stringify({ messaging_product: 'whatsapp', recipient_type: 'individual', to: message.to, type: 'text', text: { body: message.body } }),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`the Cloud API said ${answer.status}`);
    statuses.set(message.id, { status: 'sent', waMessageId: body.messages[0].id, at: Date.now() });
  }, { connection, concurrency: CONCURRENCY });

  // For the measurement: how many are done, and when each was.
  const app = express();
  app.get('/outcomes/count', (_, res) => res.json(statuses.size));
  app.get('/outcomes', (_, res) => res.json(Object.fromEntries([...statuses].map(([id, s]) => [id, s.at]))));
  listen(app);
}

({ web, worker })[process.argv[2]]();
