// nodemailer's pool and kafkajs' eachBatch, as their documentation advises for throughput: mails
// of a batch are sent beside each other, offsets are resolved in order as far as all is sent, and
// the session is kept alive meanwhile.
"use strict";

const { Kafka, logLevel } = require("kafkajs");
const nodemailer = require("nodemailer");
const { brokers, topic, groupId, relay, connections, mail } = require("./settings");

const transporter = nodemailer.createTransport({
  ...relay,
  pool: true,
  maxConnections: connections,
  maxMessages: Infinity, // its default, 100, would cost a handshake for each hundred mails
});
const kafka = new Kafka({ clientId: "pooled", brokers, logLevel: logLevel.WARN });
const consumer = kafka.consumer({ groupId });

async function send({ value }) {
  const { email, code } = JSON.parse(value.toString());
  await transporter.sendMail(mail(email, code));
}

async function eachBatch({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }) {
  const { messages } = batch;
  const isSent = new Array(messages.length).fill(false);
  let next = 0;
  let resolved = 0;

  async function work() {
    while (next < messages.length && isRunning() && !isStale()) {
      const at = next++;
      await send(messages[at]);
      isSent[at] = true;
      while (isSent[resolved]) resolveOffset(messages[resolved++].offset);
      await heartbeat(); // kafkajs sends one when its interval is over
      await commitOffsetsIfNecessary();
    }
  }

  await Promise.all(Array.from({ length: connections }, work));
}

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommitInterval: 200,
    eachBatchAutoResolve: false,
    eachBatch,
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
