// A queue as BullMQ's guide shows it, in front of nodemailer's pool as it comes: a job for each
// address that is read from standard input, five attempts with exponential back-off. With LIMIT,
// the worker's limiter is set to so many jobs a second.
"use strict";

const readline = require("node:readline");
const { Queue, Worker } = require("bullmq");
const nodemailer = require("nodemailer");

const { QUEUE, LIMIT, REDIS_PORT, RELAY_PORT } = process.env;
const connection = { host: "127.0.0.1", port: Number(REDIS_PORT), maxRetriesPerRequest: null };
const transporter = nodemailer.createTransport({
  host: "localhost",
  port: Number(RELAY_PORT),
  pool: true,
});
const queue = new Queue(QUEUE, {
  connection,
  defaultJobOptions: {
    attempts: 5,
    backoff: { type: "exponential", delay: 1000 },
    removeOnComplete: true,
  },
});

function send({ data }) {
  return transporter.sendMail({
    from: '"Bench" <noreply@mailtopic.test>',
    to: data.to,
    subject: "Ваш одноразовый код",
    text: "Ваш код: 123456",
    html: "<p>Ваш код: <b>123456</b></p>",
  });
}

// As many jobs at once as the pool has connections; BullMQ's own default is one.
const worker = new Worker(QUEUE, send, {
  connection,
  concurrency: 5,
  limiter: LIMIT ? { max: Number(LIMIT), duration: 1000 } : undefined,
});
worker.on("failed", (job, error) => {
  if (job.attemptsMade >= job.opts.attempts) console.log("given up:", error.message);
});
worker.on("error", (error) => console.error(error.message));
worker.waitUntilReady().then(() => console.log("ready"));

readline.createInterface({ input: process.stdin }).on("line", (to) => {
  queue.add("mail", { to }).catch((error) => console.error("not queued:", error.message));
});
