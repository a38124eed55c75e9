package dev.mailtopic.kafka;

import java.lang.management.ManagementFactory;

/**
 * Whether this node lives, has started and is ready.
 *
 * <p>Ready means that it serves: the quorum commits, and a broker is unfenced (its state is
 * RUNNING). Without a quorum no node is ready, although brokers still serve the partitions that they
 * lead: connections go on, because clients know brokers by the names of their pods, which resolve
 * whether they are ready or not.
 *
 * <p>After its start a broker is not ready before its replicas have caught up, because the next
 * node of a rolling restart goes down once it is; after catchUpSeconds it is ready all the same.
 */
final class Health {
    private static final double RUNNING = 3;

    private static final String BROKER = "kafka.server:type=KafkaServer,name=BrokerState";
    private static final String LAG =
            "kafka.server:type=ReplicaFetcherManager,name=MaxLag,clientId=Replica";

    private final Beans beans;
    private final Quorum quorum;
    private final boolean isBroker;
    private final long catchUpMillis;
    private long startedAtMillis = -1;
    private boolean caughtUp;

    Health(Beans beans, String roles, long catchUpSeconds) {
        this.beans = beans;
        this.quorum = new Quorum(beans);
        this.isBroker = roles.contains("broker");
        this.catchUpMillis = catchUpSeconds * 1000;
    }

    /** An answer to a probe, and what it was found from. */
    record Verdict(boolean good, String text) {}

    /** False only if threads wait for each other in a circle: nothing but a restart helps then. */
    Verdict live() {
        long[] deadlocked = ManagementFactory.getThreadMXBean().findDeadlockedThreads();
        int count = deadlocked == null ? 0 : deadlocked.length;
        return new Verdict(count == 0, "deadlockedThreads " + count + "\n");
    }

    /** Whether the node serves and the quorum commits. */
    Verdict started() {
        Quorum.Look look = quorum.look();
        if (!isBroker) {
            return new Verdict(look.commits(), look.text());
        }
        double state = beans.number(BROKER, "Value");
        return new Verdict(
                look.commits() && state == RUNNING, "brokerState " + state + "\n" + look.text());
    }

    /** The same, and its replicas have caught up since its start. */
    synchronized Verdict ready() {
        Verdict started = started();
        if (!isBroker || !started.good() || caughtUp) {
            return started;
        }
        long now = System.nanoTime() / 1_000_000;
        if (startedAtMillis < 0) {
            startedAtMillis = now;
        }
        double lag = beans.number(LAG, "Value");
        caughtUp = !(lag > 0) || now - startedAtMillis >= catchUpMillis;
        return new Verdict(caughtUp, started.text() + "replicaLag " + lag + "\n");
    }
}
