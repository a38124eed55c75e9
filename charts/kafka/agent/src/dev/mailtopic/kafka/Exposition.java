package dev.mailtopic.kafka;

/** Prometheus' text format, version 0.0.4. A sample without a number is left out. */
final class Exposition {
    private final StringBuilder text = new StringBuilder(16_384);

    /** Begins a family; its samples follow. */
    void family(String name, String type, String help) {
        text.append("# HELP ").append(name).append(' ').append(help).append('\n');
        text.append("# TYPE ").append(name).append(' ').append(type).append('\n');
    }

    /** Labels are names and values in turn. */
    void sample(String name, double value, String... labels) {
        if (Double.isNaN(value)) {
            return;
        }
        text.append(name);
        for (int at = 0; at < labels.length; at += 2) {
            text.append(at == 0 ? '{' : ',').append(labels[at]).append("=\"");
            text.append(escaped(labels[at + 1])).append('"');
        }
        text.append(labels.length == 0 ? " " : "} ").append(number(value)).append('\n');
    }

    /** A family of one sample. */
    void single(String name, String type, String help, double value) {
        if (!Double.isNaN(value)) {
            family(name, type, help);
            sample(name, value);
        }
    }

    @Override
    public String toString() {
        return text.toString();
    }

    private static String escaped(String value) {
        return value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
    }

    private static String number(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e15
                ? Long.toString((long) value)
                : Double.toString(value);
    }
}
