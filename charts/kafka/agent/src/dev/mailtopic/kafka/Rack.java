package dev.mailtopic.kafka;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Writes a label of this pod's node into a file, for broker.rack.
 *
 * <p>Arguments: the label, the directory of the service account's token, the file. The node's name
 * is NODE_NAME. A node without the label gives an empty rack, which is no rack to Kafka.
 */
public final class Rack {
    private static final String METADATA =
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    private static final Duration TIMEOUT = Duration.ofSeconds(10);

    private Rack() {}

    /** Exit code 1 with one line if the API server can't be asked; the kubelet tries again. */
    public static void main(String[] arguments) throws InterruptedException {
        try {
            String rack = label(arguments[0], node(Path.of(arguments[1])));
            Files.writeString(Path.of(arguments[2]), rack);
            System.out.println("rack: " + rack);
        } catch (IOException | GeneralSecurityException error) {
            System.err.println("rack: the node can't be read: " + error.getMessage());
            System.exit(1);
        }
    }

    /** The node's metadata as JSON. */
    private static String node(Path account)
            throws IOException, GeneralSecurityException, InterruptedException {
        String host = System.getenv("KUBERNETES_SERVICE_HOST");
        String server = (host.contains(":") ? "[" + host + "]" : host)
                + ":" + System.getenv("KUBERNETES_SERVICE_PORT");
        URI node = URI.create("https://" + server + "/api/v1/nodes/" + System.getenv("NODE_NAME"));
        String token = Files.readString(account.resolve("token")).strip();
        HttpRequest request =
                HttpRequest.newBuilder(node)
                        .timeout(TIMEOUT)
                        .header("Authorization", "Bearer " + token)
                        // Labels are in the metadata; a node's status is long.
                        .header("Accept", METADATA)
                        .build();
        HttpClient client =
                HttpClient.newBuilder()
                        .connectTimeout(TIMEOUT)
                        .sslContext(trusting(account.resolve("ca.crt")))
                        .build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("the API server answers " + answer.statusCode());
        }
        return answer.body();
    }

    private static SSLContext trusting(Path authorities)
            throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        int number = 0;
        ByteArrayInputStream pem = new ByteArrayInputStream(Files.readAllBytes(authorities));
        for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
            store.setCertificateEntry("ca" + number++, each);
        }
        TrustManagerFactory trust =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    /** A label's value can hold neither quotes nor escapes, so no JSON parser is needed. */
    private static String label(String name, String metadata) {
        String pair = '"' + Pattern.quote(name) + "\"\\s*:\\s*\"([^\"]*)\"";
        Matcher found = Pattern.compile(pair).matcher(metadata);
        return found.find() ? found.group(1) : "";
    }
}
