package dev.mailtopic.kafka;

import java.io.File;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.management.ObjectName;

/**
 * The MBeans that alerts and dashboards about Kafka are made of, under the names that the usual
 * rules of Prometheus' JMX exporter give them, so that known dashboards work.
 */
final class Metrics {
    private static final String SERVER = "kafka.server:type=";
    private static final String GAUGE = "gauge";
    private static final String COUNTER = "counter";

    /** Name, bean, help: gauges whose attribute is Value. */
    private static final String[][] GAUGES = {
        {"kafka_server_kafkaserver_brokerstate", SERVER + "KafkaServer,name=BrokerState",
            "State of the broker: 1 starting, 2 recovering, 3 running, 6 and 7 shutting down."},
        {"kafka_server_replicamanager_underreplicatedpartitions",
            SERVER + "ReplicaManager,name=UnderReplicatedPartitions",
            "Partitions led here with fewer replicas in sync than replicas."},
        {"kafka_server_replicamanager_underminisrpartitioncount",
            SERVER + "ReplicaManager,name=UnderMinIsrPartitionCount",
            "Partitions led here that refuse records of acks=all."},
        {"kafka_server_replicamanager_atminisrpartitioncount",
            SERVER + "ReplicaManager,name=AtMinIsrPartitionCount",
            "Partitions led here that can't lose another replica."},
        {"kafka_server_replicamanager_offlinereplicacount",
            SERVER + "ReplicaManager,name=OfflineReplicaCount", "Replicas here that are offline."},
        {"kafka_server_replicamanager_partitioncount",
            SERVER + "ReplicaManager,name=PartitionCount", "Replicas on this broker."},
        {"kafka_server_replicamanager_leadercount", SERVER + "ReplicaManager,name=LeaderCount",
            "Partitions that this broker leads."},
        {"kafka_server_replicafetchermanager_maxlag",
            SERVER + "ReplicaFetcherManager,name=MaxLag,clientId=Replica",
            "Records that the slowest replica here is behind its leader."},
        {"kafka_controller_kafkacontroller_activecontrollercount",
            "kafka.controller:type=KafkaController,name=ActiveControllerCount",
            "1 on the controller that leads."},
        {"kafka_controller_kafkacontroller_offlinepartitionscount",
            "kafka.controller:type=KafkaController,name=OfflinePartitionsCount",
            "Partitions of the cluster without a leader."},
        {"kafka_controller_kafkacontroller_activebrokercount",
            "kafka.controller:type=KafkaController,name=ActiveBrokerCount",
            "Brokers of the cluster that serve."},
        {"kafka_controller_kafkacontroller_fencedbrokercount",
            "kafka.controller:type=KafkaController,name=FencedBrokerCount",
            "Registered brokers that don't serve."},
        {"kafka_controller_kafkacontroller_globaltopiccount",
            "kafka.controller:type=KafkaController,name=GlobalTopicCount",
            "Topics of the cluster."},
        {"kafka_controller_kafkacontroller_globalpartitioncount",
            "kafka.controller:type=KafkaController,name=GlobalPartitionCount",
            "Partitions of the cluster."},
    };

    /** Name, attribute, help: numbers of the quorum as this node sees it. */
    private static final String[][] RAFT = {
        {"kafka_server_raft_metrics_current_leader", "current-leader",
            "Id of the quorum's leader; -1 if none is known."},
        {"kafka_server_raft_metrics_current_epoch", "current-epoch", "Epoch of the quorum."},
        {"kafka_server_raft_metrics_high_watermark", "high-watermark",
            "Offset to which metadata is committed."},
        {"kafka_server_raft_metrics_log_end_offset", "log-end-offset",
            "Where metadata ends on this node."},
    };

    /** Name, bean: counters for the whole broker and for each topic. */
    private static final String[][] TOPICS = {
        {"kafka_server_brokertopicmetrics_messagesin_total", "MessagesInPerSec",
            "Records received."},
        {"kafka_server_brokertopicmetrics_bytesin_total", "BytesInPerSec", "Bytes received."},
        {"kafka_server_brokertopicmetrics_bytesout_total", "BytesOutPerSec",
            "Bytes sent to consumers."},
        {"kafka_server_brokertopicmetrics_failedproducerequests_total",
            "FailedProduceRequestsPerSec", "Produce requests that failed."},
        {"kafka_server_brokertopicmetrics_failedfetchrequests_total", "FailedFetchRequestsPerSec",
            "Fetch requests that failed."},
    };

    /** Name, bean: numbers of each partition's log. */
    private static final String[][] LOGS = {
        {"kafka_log_log_size", "Size", "Bytes of the partition's log here."},
        {"kafka_log_log_logstartoffset", "LogStartOffset", "First offset of the log."},
        {"kafka_log_log_logendoffset", "LogEndOffset", "Offset that the next record gets."},
    };

    private static final String[][] QUANTILES = {
        {"0.5", "50thPercentile"}, {"0.95", "95thPercentile"}, {"0.99", "99thPercentile"},
    };

    private final Beans beans;
    private final int maxPartitions;

    Metrics(Beans beans, int maxPartitions) {
        this.beans = beans;
        this.maxPartitions = maxPartitions;
    }

    String render() {
        Exposition out = new Exposition();
        for (String[] gauge : GAUGES) {
            out.single(gauge[0], GAUGE, gauge[2], beans.number(gauge[1], "Value"));
        }
        raft(out);
        topics(out);
        requests(out);
        logs(out);
        idle(out);
        disks(out);
        Jvm.render(out);
        return out.toString();
    }

    private void raft(Exposition out) {
        for (String[] gauge : RAFT) {
            out.single(gauge[0], GAUGE, gauge[2], beans.number(SERVER + "raft-metrics", gauge[1]));
        }
        String state = beans.text(SERVER + "raft-metrics", "current-state");
        if (state != null) {
            String name = "kafka_server_raft_metrics_current_state";
            out.family(name, GAUGE, "1, with this node's state in the quorum as a label.");
            out.sample(name, 1, "state", state);
        }
    }

    private void topics(Exposition out) {
        for (String[] counter : TOPICS) {
            String bean = SERVER + "BrokerTopicMetrics,name=" + counter[1];
            out.family(counter[0], COUNTER, counter[2] + " Without a topic: on the whole broker.");
            out.sample(counter[0], beans.number(bean, "Count"));
            for (ObjectName each : beans.named(bean + ",topic=*")) {
                String topic = Beans.key(each, "topic");
                out.sample(counter[0], beans.number(each, "Count"), "topic", topic);
            }
        }
    }

    private void requests(Exposition out) {
        String base = "kafka.network:type=RequestMetrics,name=";
        Map<String, Double> counts = new TreeMap<>(); // one bean for each version: their sum
        for (ObjectName each : beans.named(base + "RequestsPerSec,*")) {
            counts.merge(Beans.key(each, "request"), beans.number(each, "Count"), Double::sum);
        }
        String total = "kafka_network_requestmetrics_requests_total";
        out.family(total, COUNTER, "Requests received.");
        counts.forEach((request, count) -> out.sample(total, count, "request", request));
        String time = "kafka_network_requestmetrics_totaltimems";
        out.family(time, "summary", "Milliseconds from a request's arrival to its answer.");
        for (ObjectName each : beans.named(base + "TotalTimeMs,*")) {
            String request = Beans.key(each, "request");
            double count = beans.number(each, "Count");
            if (count > 0) {
                for (String[] quantile : QUANTILES) {
                    double ms = beans.number(each, quantile[1]);
                    out.sample(time, ms, "request", request, "quantile", quantile[0]);
                }
                double mean = beans.number(each, "Mean");
                out.sample(time + "_sum", mean * count, "request", request);
                out.sample(time + "_count", count, "request", request);
            }
        }
    }

    private void logs(Exposition out) {
        int omitted = 0;
        for (String[] gauge : LOGS) {
            out.family(gauge[0], GAUGE, gauge[2]);
            List<ObjectName> all = beans.named("kafka.log:type=Log,name=" + gauge[1] + ",*");
            for (ObjectName each : all.subList(0, Math.min(all.size(), maxPartitions))) {
                String topic = Beans.key(each, "topic");
                String partition = Beans.key(each, "partition");
                double value = beans.number(each, "Value");
                out.sample(gauge[0], value, "topic", topic, "partition", partition);
            }
            omitted = Math.max(0, all.size() - maxPartitions);
        }
        out.single("mailtopic_kafka_agent_partitions_omitted", GAUGE,
                "Partitions left out of kafka_log_log_*, because there are too many.", omitted);
    }

    private void idle(Exposition out) {
        out.single("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", GAUGE,
                "Share of time that request handlers are idle.",
                beans.number(SERVER + "KafkaRequestHandlerPool,name=RequestHandlerAvgIdlePercent",
                        "OneMinuteRate"));
        out.single("kafka_network_socketserver_networkprocessoravgidle_percent", GAUGE,
                "Share of time that network threads are idle.",
                beans.number("kafka.network:type=SocketServer,name=NetworkProcessorAvgIdlePercent",
                        "Value"));
    }

    private void disks(Exposition out) {
        List<ObjectName> found =
                beans.named("kafka.log:type=LogManager,name=LogDirectoryOffline,logDirectory=*");
        String[][] gauges = {
            {"mailtopic_kafka_agent_disk_free_bytes", "Bytes that the data's volume has left."},
            {"mailtopic_kafka_agent_disk_size_bytes", "Bytes of the data's volume."},
        };
        for (String[] gauge : gauges) {
            out.family(gauge[0], GAUGE, gauge[1]);
            for (ObjectName each : found) {
                File directory = new File(Beans.key(each, "logDirectory"));
                boolean isFree = gauge == gauges[0];
                long bytes = isFree ? directory.getUsableSpace() : directory.getTotalSpace();
                out.sample(gauge[0], bytes, "directory", directory.getPath());
            }
        }
    }
}
