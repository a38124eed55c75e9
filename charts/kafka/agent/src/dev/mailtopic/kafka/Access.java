package dev.mailtopic.kafka;

import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.ResourceNotFoundException;
import org.apache.kafka.common.resource.ResourcePatternFilter;

/**
 * Makes a cluster's users and their ACLs what a file of {@link Rules} says.
 *
 * <p>Arguments: the admin client's properties, the rules, the SCRAM mechanism, and for how many
 * seconds to try. Doing it twice changes nothing; ACLs of users that the file doesn't name are left
 * alone. Exit code 0: all is as the file says; 1: it couldn't be done in time; 2: the file is
 * wrong.
 */
public final class Access {
    private static final int ITERATIONS = 8192;
    private static final long RETRY_MILLIS = 2000;

    private final Admin admin;
    private final ScramMechanism mechanism;

    private Access(Admin admin, ScramMechanism mechanism) {
        this.admin = admin;
        this.mechanism = mechanism;
    }

    /** Tries until it is done or the time is over. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Rules rules;
        try {
            rules = Rules.read(Path.of(arguments[1]));
        } catch (IllegalArgumentException | IOException error) {
            System.err.println("access: " + error.getMessage());
            System.exit(2);
            return;
        }
        Properties properties = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            properties.load(reader);
        }
        ScramMechanism mechanism = ScramMechanism.fromMechanismName(arguments[2]);
        Duration patience = Duration.ofSeconds(Long.parseLong(arguments[3]));
        long deadline = System.nanoTime() + patience.toNanos();
        System.exit(tryUntil(deadline, properties, rules, mechanism) ? 0 : 1);
    }

    private static boolean tryUntil(
            long deadline, Properties properties, Rules rules, ScramMechanism mechanism)
            throws InterruptedException {
        String said = "";
        while (true) {
            String reason;
            try (Admin admin = Admin.create(properties)) {
                new Access(admin, mechanism).apply(rules);
                return true;
            } catch (ExecutionException | KafkaException error) {
                // No broker yet, their names don't resolve yet, the quorum has no leader yet …
                reason = rootOf(error);
            }
            if (System.nanoTime() >= deadline) {
                System.err.println("access: given up: " + reason);
                return false;
            }
            if (!reason.equals(said)) {
                System.out.println("access: waiting: " + reason);
                said = reason;
            }
            Thread.sleep(RETRY_MILLIS);
        }
    }

    private static String rootOf(Throwable error) {
        Throwable root = error;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root.getClass().getSimpleName() + ": " + root.getMessage();
    }

    private void apply(Rules rules) throws ExecutionException, InterruptedException {
        for (String user : rules.passwords().keySet()) {
            setPassword(user, rules.passwords().get(user));
            String changes = setAcls(user, rules.allowed().get(user));
            System.out.println("access: user " + user + ": credentials set, ACLs " + changes);
        }
        for (String user : rules.absent()) {
            removeCredentials(user);
            String changes = setAcls(user, Set.of());
            System.out.println("access: user " + user + ": removed, ACLs " + changes);
        }
    }

    private void setPassword(String user, String password)
            throws ExecutionException, InterruptedException {
        ScramCredentialInfo how = new ScramCredentialInfo(mechanism, ITERATIONS);
        UserScramCredentialUpsertion set = new UserScramCredentialUpsertion(user, how, password);
        admin.alterUserScramCredentials(List.of(set)).all().get();
    }

    private void removeCredentials(String user) throws ExecutionException, InterruptedException {
        try {
            UserScramCredentialDeletion removal = new UserScramCredentialDeletion(user, mechanism);
            admin.alterUserScramCredentials(List.of(removal)).all().get();
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof ResourceNotFoundException)) {
                throw error;
            }
        }
    }

    private String setAcls(String user, Set<AclBinding> wanted)
            throws ExecutionException, InterruptedException {
        String principal = Rules.principal(user);
        AccessControlEntryFilter ofUser =
                new AccessControlEntryFilter(
                        principal, null, AclOperation.ANY, AclPermissionType.ANY);
        AclBindingFilter own = new AclBindingFilter(ResourcePatternFilter.ANY, ofUser);
        Set<AclBinding> missing = new HashSet<>(wanted);
        List<AclBindingFilter> surplus = new ArrayList<>();
        for (AclBinding found : admin.describeAcls(own).values().get()) {
            if (!missing.remove(found)) {
                surplus.add(found.toFilter());
            }
        }
        if (!missing.isEmpty()) {
            admin.createAcls(missing).all().get();
        }
        if (!surplus.isEmpty()) {
            admin.deleteAcls(surplus).all().get();
        }
        return "+" + missing.size() + " -" + surplus.size();
    }
}
