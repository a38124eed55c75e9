package dev.mailtopic.kafka;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.config.ConfigData;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.provider.ConfigProvider;

/**
 * Kafka's settings from the files of a Secret: {@code ${pem:/etc/kafka/tls:tls.key}}.
 *
 * <p>Kafka's own DirectoryConfigProvider does the same, but the keys that Helm and cert-manager put
 * into a kubernetes.io/tls Secret are in a form that Kafka can't read.
 */
public final class PemConfigProvider implements ConfigProvider {
    @Override
    public void configure(Map<String, ?> configs) {}

    /** A directory's files would be secrets nobody asked for. */
    @Override
    public ConfigData get(String path) {
        return new ConfigData(Map.of());
    }

    @Override
    public ConfigData get(String path, Set<String> keys) {
        Map<String, String> found = new HashMap<>();
        for (String key : keys) {
            Path file = Path.of(path, key);
            try {
                found.put(key, Pem.readable(Files.readString(file)));
            } catch (IOException | IllegalArgumentException error) {
                throw new ConfigException(file + ": " + error.getMessage());
            }
        }
        return new ConfigData(found);
    }

    @Override
    public void close() {}
}
