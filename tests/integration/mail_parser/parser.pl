# Mails read by Email::MIME: file names on standard input, a line of JSON for each.
use strict;
use warnings;
use Email::MIME;
use JSON::PP;

my $json = JSON::PP->new->canonical->ascii;
while (my $name = <STDIN>) {
    chomp $name;
    open(my $file, '<:raw', $name) or die "$name: $!";
    my $mail = Email::MIME->new(do { local $/; <$file> });
    my ($text, $html) = map { $_->body_str } $mail->subparts;
    print $json->encode({
        subject => $mail->header_str('Subject'),
        to      => $mail->header_str('To'),
        text    => $text,
        html    => $html,
    }), "\n";
}
