package dev.mailtopic.kafka;

import java.lang.management.ManagementFactory;
import java.util.List;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.MalformedObjectNameException;
import javax.management.ObjectName;

/** Reads Kafka's MBeans. What isn't registered (yet, or in this role) is NaN or null, no error. */
final class Beans {
    private final MBeanServer server = ManagementFactory.getPlatformMBeanServer();

    /** The numeric attribute of one bean. */
    double number(String name, String attribute) {
        return number(parse(name), attribute);
    }

    double number(ObjectName name, String attribute) {
        return value(name, attribute) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /** The textual attribute of one bean. */
    String text(String name, String attribute) {
        return value(parse(name), attribute) instanceof String text ? text : null;
    }

    /** All beans that a pattern matches, in the order of their names. */
    List<ObjectName> named(String pattern) {
        return server.queryNames(parse(pattern), null).stream().sorted().toList();
    }

    /** A key of a bean's name, without the quotes that JMX puts around unusual texts. */
    static String key(ObjectName name, String key) {
        String value = name.getKeyProperty(key);
        return value != null && value.startsWith("\"") ? ObjectName.unquote(value) : value;
    }

    private Object value(ObjectName name, String attribute) {
        try {
            return server.getAttribute(name, attribute);
        } catch (JMException error) {
            return null; // beans come and go while topics and connections do
        }
    }

    private static ObjectName parse(String name) {
        try {
            return new ObjectName(name);
        } catch (MalformedObjectNameException error) {
            throw new IllegalArgumentException(name, error);
        }
    }
}
