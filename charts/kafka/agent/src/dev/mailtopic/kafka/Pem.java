package dev.mailtopic.kafka;

import java.io.ByteArrayOutputStream;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Private keys in the one form that Kafka reads: PKCS #8. */
final class Pem {
    private static final Pattern BLOCK =
            Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \\1-----");
    private static final int SEQUENCE = 0x30;
    private static final int OCTETS = 0x04;

    /** Version 0 and the algorithm rsaEncryption (RFC 5208 section 5, RFC 8017 appendix A.1). */
    private static final byte[] RSA_HEAD = {
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, (byte) 0x86, 0x48, (byte) 0x86,
        (byte) 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00
    };

    private Pem() {}

    /**
     * Returns a key that Helm or cert-manager made (PKCS #1) as PKCS #8; whatever else a file
     * holds, certificates above all, comes back as it is.
     *
     * @throws IllegalArgumentException for an EC key in its own form (SEC 1), which says too little
     */
    static String readable(String pem) {
        Matcher block = BLOCK.matcher(pem);
        while (block.find()) {
            if (block.group(1).equals("RSA PRIVATE KEY")) {
                return wrapped(Base64.getMimeDecoder().decode(block.group(2)));
            }
            if (block.group(1).equals("EC PRIVATE KEY")) {
                throw new IllegalArgumentException(
                        "the private key must be in the form PKCS #8 (BEGIN PRIVATE KEY);"
                                + " openssl pkcs8 -topk8 -nocrypt makes it so");
            }
        }
        return pem;
    }

    private static String wrapped(byte[] key) {
        ByteArrayOutputStream inner = new ByteArrayOutputStream();
        inner.writeBytes(RSA_HEAD);
        inner.writeBytes(tagged(OCTETS, key));
        byte[] whole = tagged(SEQUENCE, inner.toByteArray());
        String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(whole);
        return "-----BEGIN PRIVATE KEY-----\n" + text + "\n-----END PRIVATE KEY-----\n";
    }

    /** DER: a tag, a length in as few bytes as it takes, the content. */
    private static byte[] tagged(int tag, byte[] content) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        int length = content.length;
        if (length < 0x80) {
            out.write(length);
        } else if (length < 0x100) {
            out.write(0x81);
            out.write(length);
        } else {
            out.write(0x82);
            out.write(length >> 8);
            out.write(length);
        }
        out.writeBytes(content);
        return out.toByteArray();
    }
}
