// The original consumer, as it was: mail after mail, a connection for each, errors are logged and
// the mail is dropped.
"use strict";

const { Kafka, logLevel } = require("kafkajs");
const nodemailer = require("nodemailer");
const { brokers, topic, groupId, relay, mail } = require("./settings");

const transporter = nodemailer.createTransport(relay);
const kafka = new Kafka({ clientId: "original", brokers, logLevel: logLevel.WARN });
const consumer = kafka.consumer({ groupId });

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      try {
        const { email, code } = JSON.parse(message.value.toString());
        await transporter.sendMail(mail(email, code));
      } catch (error) {
        console.error("not sent:", error.message);
      }
    },
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
