package dev.mailtopic.kafka;

import com.sun.management.UnixOperatingSystemMXBean;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import java.lang.management.MemoryUsage;

/** Memory, garbage collection, threads and files, as Prometheus' client names them. */
final class Jvm {
    private Jvm() {}

    static void render(Exposition out) {
        memory(out);
        collections(out);
        out.single("jvm_threads_current", "gauge", "Threads that live.",
                ManagementFactory.getThreadMXBean().getThreadCount());
        out.single("process_start_time_seconds", "gauge", "When the process started.",
                ManagementFactory.getRuntimeMXBean().getStartTime() / 1000.0);
        if (ManagementFactory.getOperatingSystemMXBean() instanceof UnixOperatingSystemMXBean os) {
            out.single("process_cpu_seconds_total", "counter", "CPU time used.",
                    os.getProcessCpuTime() / 1e9);
            out.single("process_open_fds", "gauge", "Open files.",
                    os.getOpenFileDescriptorCount());
            out.single("process_max_fds", "gauge", "Files that may be open.",
                    os.getMaxFileDescriptorCount());
        }
    }

    private static void memory(Exposition out) {
        MemoryMXBean memory = ManagementFactory.getMemoryMXBean();
        MemoryUsage[] areas = {memory.getHeapMemoryUsage(), memory.getNonHeapMemoryUsage()};
        String[] names = {"heap", "nonheap"};
        String used = "jvm_memory_used_bytes";
        out.family(used, "gauge", "Bytes in use.");
        for (int at = 0; at < areas.length; at++) {
            out.sample(used, areas[at].getUsed(), "area", names[at]);
        }
        String max = "jvm_memory_max_bytes";
        out.family(max, "gauge", "Bytes that may be used; -1 without a limit.");
        for (int at = 0; at < areas.length; at++) {
            out.sample(max, areas[at].getMax(), "area", names[at]);
        }
    }

    private static void collections(Exposition out) {
        String name = "jvm_gc_collection_seconds";
        out.family(name, "summary", "Time spent in garbage collections.");
        for (GarbageCollectorMXBean each : ManagementFactory.getGarbageCollectorMXBeans()) {
            out.sample(name + "_count", each.getCollectionCount(), "gc", each.getName());
            out.sample(name + "_sum", each.getCollectionTime() / 1000.0, "gc", each.getName());
        }
    }
}
