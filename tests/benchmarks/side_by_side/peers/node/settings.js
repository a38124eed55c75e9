// What the original consumer's variables say.
"use strict";

const env = process.env;

exports.brokers = env.KAFKA_BROKERS.split(",");
exports.topic = env.KAFKA_TOPIC;
exports.groupId = env.KAFKA_GROUP;
exports.connections = Number(env.CONNECTIONS);
exports.relay = { host: env.MAIL_HOST, port: Number(env.MAIL_PORT), secure: false, requireTLS: true };

exports.mail = (email, code) => ({
  from: `"${env.MAIL_FROM_NAME}" <${env.MAIL_USER}>`,
  to: email,
  subject: "Ваш одноразовый код",
  text: `Ваш код: ${code}`,
  html: `<p>Ваш код: <b>${code}</b></p>`,
});
