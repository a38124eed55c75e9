package dev.mailtopic.kafka;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.instrument.Instrumentation;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;

/**
 * Answers probes and Prometheus from inside Kafka's own process, out of its MBeans.
 *
 * <p>An exec probe starts a process each time and a TCP probe can't see a lost quorum; this costs
 * one HTTP request. Arguments: {@code port=9404,roles=broker+controller,catchUpSeconds=120,
 * maxPartitions=1000}. If the port is taken, the JVM doesn't start.
 */
public final class Agent {
    private static final String TEXT = "text/plain; charset=utf-8";
    private static final String PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";

    private Agent() {}

    /** Called by the JVM before Kafka's main. */
    public static void premain(String arguments, Instrumentation instrumentation)
            throws IOException {
        Map<String, String> options = parse(arguments);
        Beans beans = new Beans();
        Health health =
                new Health(
                        beans,
                        options.getOrDefault("roles", "broker+controller"),
                        Long.parseLong(options.getOrDefault("catchUpSeconds", "120")));
        Metrics metrics =
                new Metrics(beans, Integer.parseInt(options.getOrDefault("maxPartitions", "1000")));
        serve(Integer.parseInt(options.getOrDefault("port", "9404")), health, metrics);
    }

    private static void serve(int port, Health health, Metrics metrics) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 16);
        server.createContext("/livez", exchange -> answer(exchange, health.live()));
        server.createContext("/startupz", exchange -> answer(exchange, health.started()));
        server.createContext("/readyz", exchange -> answer(exchange, health.ready()));
        server.createContext(
                "/metrics", exchange -> send(exchange, 200, PROMETHEUS, metrics.render()));
        server.setExecutor(threads());
        // The dispatcher inherits being a daemon: the agent never keeps a stopped Kafka alive.
        Thread starter = new Thread(server::start, "mailtopic-agent");
        starter.setDaemon(true);
        starter.start();
    }

    /** Two threads: a slow scrape must not keep a probe waiting. */
    private static ExecutorService threads() {
        return Executors.newFixedThreadPool(
                2,
                work -> {
                    Thread thread = new Thread(work, "mailtopic-agent-http");
                    thread.setDaemon(true);
                    return thread;
                });
    }

    private static Map<String, String> parse(String arguments) {
        Map<String, String> options = new HashMap<>();
        for (String option : (arguments == null ? "" : arguments).split(",")) {
            int equals = option.indexOf('=');
            if (equals > 0) {
                options.put(option.substring(0, equals), option.substring(equals + 1));
            }
        }
        return options;
    }

    private static void answer(HttpExchange exchange, Health.Verdict verdict) throws IOException {
        send(exchange, verdict.good() ? 200 : 503, TEXT, verdict.text());
    }

    private static void send(HttpExchange exchange, int code, String type, String text)
            throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(code, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
