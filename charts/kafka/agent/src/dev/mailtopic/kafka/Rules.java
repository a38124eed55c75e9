package dev.mailtopic.kafka;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Who may do what, read from a file of lines:
 *
 * <pre>
 * user NAME PASSWORD_FILE
 * allow NAME RESOURCE PATTERN RESOURCE_NAME OPERATION…
 * absent NAME
 * </pre>
 *
 * <p>The words for resources, patterns and operations are Kafka's: Topic, Prefixed, Describe.
 *
 * @param passwords the password of every user that is to exist
 * @param allowed everything that each of them may do
 * @param absent users that are to be removed
 */
record Rules(
        Map<String, String> passwords, Map<String, Set<AclBinding>> allowed, List<String> absent) {

    /**
     * Reads the rules and the passwords.
     *
     * @throws IllegalArgumentException names the line that can't be understood
     */
    static Rules read(Path file) throws IOException {
        Rules rules = new Rules(new LinkedHashMap<>(), new LinkedHashMap<>(), new ArrayList<>());
        for (String line : Files.readAllLines(file)) {
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            try {
                rules.add(line.trim().split("\\s+"));
            } catch (ArrayIndexOutOfBoundsException | IllegalArgumentException error) {
                throw new IllegalArgumentException(
                        file.getFileName() + ": can't understand: " + line);
            }
        }
        return rules;
    }

    private void add(String[] words) throws IOException {
        String user = words[1];
        switch (words[0]) {
            case "user" -> {
                // An editor's last line end is no part of a password.
                passwords.put(user, Files.readString(Path.of(words[2])).stripTrailing());
                allowed.putIfAbsent(user, new HashSet<>());
            }
            case "allow" -> {
                ResourcePattern pattern =
                        new ResourcePattern(
                                known(ResourceType.fromString(snake(words[2]))),
                                words[4],
                                PatternType.fromString(words[3].toUpperCase()));
                for (int at = 5; at < words.length; at++) {
                    allowed.get(user).add(binding(user, pattern, words[at]));
                }
            }
            case "absent" -> absent.add(user);
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    private static AclBinding binding(String user, ResourcePattern pattern, String operation) {
        AclOperation known = AclOperation.fromString(snake(operation));
        if (known.isUnknown()) {
            throw new IllegalArgumentException(operation);
        }
        return new AclBinding(
                pattern,
                new AccessControlEntry(principal(user), "*", known, AclPermissionType.ALLOW));
    }

    private static ResourceType known(ResourceType type) {
        if (type.isUnknown()) {
            throw new IllegalArgumentException("resource");
        }
        return type;
    }

    /** DescribeConfigs is DESCRIBE_CONFIGS to Kafka's enums. */
    private static String snake(String word) {
        return word.replaceAll("(?<=[a-z])(?=[A-Z])", "_").toUpperCase();
    }

    static String principal(String user) {
        return "User:" + user;
    }
}
