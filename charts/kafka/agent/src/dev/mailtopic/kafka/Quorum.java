package dev.mailtopic.kafka;

import java.util.Locale;

/**
 * Whether this node still gets what the quorum commits.
 *
 * <p>The active controller writes a record twice a second even if nothing happens
 * (metadata.max.idle.interval.ms). So the high watermark rises on every node, be it a voter or an
 * observer, while a majority stores what the leader writes and this node can fetch it.
 *
 * <p>What a node says about itself proves less. A voter that is left alone turns from follower to
 * prospective and back every few seconds (pre-vote, KIP-996), an observer stays one, and both go on
 * naming the last leader.
 */
final class Quorum {
    /** Enough for the death of a leader: its followers miss it after 2 s and elect another. */
    private static final double COMMIT_TIMEOUT_S = 5;

    private static final String RAFT = "kafka.server:type=raft-metrics";

    private final Beans beans;
    private double highWatermark = Double.NaN;
    private double roseAtS = Double.NEGATIVE_INFINITY;

    Quorum(Beans beans) {
        this.beans = beans;
    }

    /** What one look found, and a text about it. */
    record Look(boolean commits, String text) {}

    /** Looks again. It takes two looks to see a commit; more, or other callers', do no harm. */
    synchronized Look look() {
        double nowS = System.nanoTime() / 1e9;
        double seen = beans.number(RAFT, "high-watermark");
        if (seen > highWatermark) { // NaN, before there is one, compares false
            roseAtS = nowS;
        }
        highWatermark = seen; // a new leader begins at -1: it may be lower than before
        double silentS = nowS - roseAtS;
        return new Look(silentS <= COMMIT_TIMEOUT_S, describe(silentS));
    }

    private String describe(double silentS) {
        return String.format(
                Locale.ROOT,
                "quorumLeader %.0f\nquorumState %s\nsecondsSinceCommit %.1f\n",
                beans.number(RAFT, "current-leader"),
                beans.text(RAFT, "current-state"),
                silentS);
    }
}
