"""The meaning of a reply's text. Names, addresses and hosts in it are ignored.

Relays express the same idea in any order, case and several languages, and non-ASCII text arrives as
any number of question marks; so most patterns are a noun near a verdict, not a sentence.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from mailtopic_sender.domain.replies.classes import ReplyClass

MAX_TEXT = 1000
"""Characters of a text that are examined: a reply states its subject at the beginning."""

_NAMES = re.compile(
    r"<[^<>]*@[^<>]*>|https?://\S+|\bwww\.\S+"
    r"|\"[^\"]*\"@\S+|[^\s<>,;:()\"]+@[^\s<>,;()\"]+"
    # A host name in lower case; Exchange's dotted words (STOREDRV.Submission.…) aren't host names.
    r"|(?<![\w.@-])(?!storedrv|resolver)(?-i:(?:[a-z0-9_-]+\.)+[a-z]{2,})\b"
    # One quoted word: usually the local part of an address.
    r"|'(?!from\b|sender\b)[^'\s]+'|\"(?!from\b|sender\b)[^\"\s]+\"",
    re.IGNORECASE,
)


def words_of(text: str) -> str:
    """Return a text without names, folded to lower case and single spaces."""
    return " ".join(_NAMES.sub(" ", text[:MAX_TEXT]).casefold().replace("\u2019", "'").split())


def _near(noun: str, verdict: str) -> str:
    """A noun before its verdict with some words between, or right after it."""
    after = rf"\b(?:{noun})\b[^;]{{0,60}}?\b(?:{verdict})"
    before = rf"\b(?:{verdict})[ :'\"-]+(?:(?:an?|the|your|this|local|outbound) )?(?:{noun})\b"
    return f"(?:{after}|{before})"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_NOT = (
    r"(?:not|isn't|wasn't|never)(?: \w+){0,2}? (?:allow\w*|permit\w*|authori[sz]\w*|verif\w+|"
    r"confirm\w*|validat\w+|valid|local|own\w*|match\w*|register\w*|activat\w+|accept\w*|"
    r"approv\w+|"
    r"recogni[sz]\w*|enabl\w+|configur\w+|exist\w*|found|hosted|resolv\w*)"
    r"|(?:doesn't|does not|do not|don't)(?: \w+){0,1}? (?:match\w*|exist|resolve|own|belong)"
    r"|nicht (?:\w+ )?(?:erlaubt|zugelassen|zul\S{1,4}ssig|berechtigt|best\S{1,4}tigt|"
    r"verifiziert|"
    r"gestattet|autorisiert)|non autoris\S+|no autorizado|non autorizzato|niet toegestaan"
)
_REFUSED = (
    r"reject\w*|refus\w*|denied|deny|disabled|invalid|mismatch\w*|unverified|unauthori[sz]ed|"
    r"suspended|forbidden|prohibited|failed|failure|unknown|bad|illegal|malformed|disallowed|"
    r"blocked|blacklist\w*|blocklist\w*|banned|inactive|deactivated|unrouteable|restricted|"
    r"abgelehnt|zur\S{1,4}ckgewiesen|gesperrt|verweigert|ung\S{1,4}ltig\w*|unbekannt\w*|"
    r"unzul\S{1,4}ssig\w*|rejet\S{1,3}|rechazad[oa]|rifiutat[oa]|geweigerd"
)
_US = (
    r"senders?|sender'?s?[ -](?:e-?mail |id |address|identity|domain|signature|name|mailbox)\w*|"
    r"from[ -]?(?:e-?mail )?(?:address|header|field|domain)|(?:header|envelope)[ -]?from|"
    r"mail from|return[ -]path|reverse[ -]path|originator|originating (?:domain|address)|"
    r"sending (?:domain|address|e-?mail|account|identity|user)|absender\w*|sende(?:r)?adresse|"
    r"exp\S{1,4}diteur|"
    r"remitente|mittente|afzender|remetente"
)
_HELO = r"(?:helo|ehlo)(?:/[eh]{2}lo)?"

_RESTRICTED = _any(
    r"\bto (?:this|that|the) (?:recipient|group|mailbox|user|address|distribution|list|alias)",
    r"\b(?:recipient|user|mailbox|group|address|list)\b.{0,20} (?:only )?(?:accepts?|receives?)"
    r" (?:\w+ )?(?:mail|messages?|e-?mails?)? ?(?:only )?from",
    r"resolver\.rst|authenticated for (?:this |the )?group",
    r"not accepting (?:mail|messages|e-?mails?)(?: from| at|$|\W)",
)
"""The recipient accepts no mail from outside, or from us, even if senders are mentioned."""

_RECIPIENT_RATE = _any(
    r"(?:user|recipient|mailbox|account|inbox)\b.{0,60}\breceiv\w+.{0,40}\b(?:rate|limit|too)",
    r"\b(?:recipient|addressee) has (?:exceeded|reached)\b(?!.{0,60}\b(?:sen[dt]|submi|outgo))"
    r".{0,60}\b(?:limit|quota|number)",
)
_FULL = _any(
    r"(?:mailbox|inbox|user|recipient|account|postfach|folder|maildir)[\w' ]{0,24}"
    r"(?:\bfull\b|over ?quota|out of (?:storage|space)|\bvoll\b|\S{1,4}berf\S{1,4}llt|"
    r"quota exceed)",
    r"over ?quota|(?:mail(?:box)?|disk|storage|user'?s?) (?:space |size )?quota",
    r"^(?:\w+\W+){0,3}quota exceeded\W*$|quota exceeded (?:for|of) (?:user|mailbox|recipient)",
    r"exceeded (?:his|her|its|their|the)? ?(?:storage|mailbox|disk|mail ?quota|quota|space)",
    r"insufficient (?:storage|disk)|not enough (?:storage|disk|space)|"
    r"(?:mail)?bo\S{1,4}te .{0,20}pleine",
    r"casella .{0,10}piena|buz\S{1,4}n .{0,10}lleno|speicherplatz|mailbox is (?:at|over)",
)
_PERIOD = (
    r"daily|monthly|hourly|weekly|per (?:hour|day|week|month)|an? (?:hour|day)|/ ?(?:hour|day|"
    r"h\b)|"
    r"24[ -]?h\w*|t\S{1,4}glich\w*|tages\w*|monatlich\w*|st\S{1,4}ndlich\w*|pro (?:tag|stunde|"
    r"monat)|"
    r"journali\S{1,3}re?|par (?:heure|jour)|diari[oa]|today"
)
_ALLOWANCE = (
    r"quota\w*|limit\w*|allowance|credits?|kontingent|allocation|maxim\w+|max|\w+limit\w*|cap"
)
_QUOTA = _any(
    r"too many (?:\w+ ){0,3}(?:per|an?|in an?) (?:hour|day|week|month)|allowed (?:per|"
    r"an?) (?:hour|day|week|month)",
    r"(?:tages|monats|stunden|versand|sende)-?(?:limit|kontingent|quote|grenze)|submissionquota",
    rf"\b(?:{_PERIOD})\b.{{0,50}}\b(?:{_ALLOWANCE})\b",
    rf"\b(?:{_ALLOWANCE})\b.{{0,50}}\b(?:{_PERIOD})(?:\b|$)",
    r"\b(?:e-?mails?|sending|send|submission|smtp|relay|outgoing|outbound|sender'?s?|account's|"
    r"plan'?s?|hosting|your|message)"
    r" (?:e-?mails? |message |account |plan |relay |volume |sending )*(?:quota|limit|"
    r"allowance)\b",
    r"\bquota\b.{0,20}\b(?:for|of) (?:the |this |your )?(?:sender|domain|account)",
    r"\byour account\b.{0,40}\b(?:limit|quota)\b|limit for message recipients",
    r"(?:maximum|out of|insufficient|not enough|no more|no) (?:\w+ )?credits|"
    r"credits? (?:\w+ )?exceeded",
    r"(?:exceeded|reached).{0,20}(?:allowed|maximum|permitted) (?:number|amount|"
    r"count) of (?:e-?)?mails",
    r"kontingent\b.{0,40}(?:\S{1,4}berschritten|ersch|erreicht)|unusual sending activity|"
    r"limite d'envoi",
)
_SIZES = re.compile(r"\b(?:size|bytes|octets|large|big|kb|mb)\b")
_NO_RATE = re.compile(
    r"too many (?:hops|received|invalid|unknown|bad|failed|non-?existent|wrong|unsuccessful rec)"
    r"|permanently deferred"
)
_THROTTLE = _any(
    r"throttl|rate.?limit|too (?:many|fast|quick|frequent|much mail)|sending rate|unusual rate",
    r"at a rate|unexpected volume|exceeded the (?:rate|maximum number of conn)|concurrent conn",
    r"thread limit|slow down|server busy|tss\d\d|per (?:second|minute)|frequency limit",
    r"(?:rate|limit) (?:of \S+ )?(?:messages?|mails?|e-?mails?)?\W*exceeded|"
    r"exceeded .{0,20}\brate\b",
    r"rate overlimit|over rate|sender exceeded|per \d+ (?:second|minute)",
    r"zu (?:viele|schnell|h\S{1,4}ufig)|trop de (?:messages|connexions|mails)|demasiados",
)
_GREY = _any(r"gr[ae]y.?list")
_COME_BACK = _any(
    r"come back (?:later|in)",
    r"try(?:ing)? again in",
    r"wiederholen sie|sp\S{1,4}ter (?:noch ?mal|erneut)",
)
_LOGIN = _any(
    r"authenticat\w+ (?:is )?(?:required|needed)|(?:please|must|should|need to|"
    r"have to) authenticate",
    r"authenticate (?:first|yourself)|not (?:been )?(?:authenticated|logged in)",
    r"log ?in (?:first|required)|smtp auth (?:is )?required|requires? (?:smtp )?authentication",
    r"pop before smtp|check (?:for new )?mail (?:first|before)",
    r"anmeldung erforderlich|bitte .{0,20}(?:anmelden|authentifizier)|nicht angemeldet",
)
_AS_SENDER = _any(
    r"\bdomain\b.{0,30}\bnot (?:\w+ )?authenticated|authenticated as (?:this|that|the) sender",
)
_SENDER = _any(
    _near(_US, rf"{_NOT}|{_REFUSED}"),
    _near(_HELO, rf"{_NOT}|{_REFUSED}|needs? |must |should |syntax"),
    _near(
        r"(?:this |your |the )?(?:sending |sender |from )?(?:domain|identit(?:y|ies)|hostname)",
        r"(?:not|isn't|never)(?: \w+){0,2}? (?:verif\w+|allowed to send|authori[sz]ed to send"
        r"|permitted to send|confirm\w*|validated|registered with|associated with|configured for)"
        r"|unverified|failed the check",
    ),
    r"(?:not|isn't|n't) (?:\w+ )?(?:authori[sz]ed|allowed|permitted|able|entitled|enabled) to"
    r" (?:send|relay|submit|use|perform)\b",
    rf"(?:^|[:;.,-] ?|\b(?:the|your|this) )[\"']?from[\"':]* (?:is |was )?(?:{_NOT}|{_REFUSED})",
    r"nicht berechtigt\b.{0,40}\bsenden|awaiting verification|verify (?:a|the) domain",
    r"(?:belong to|the owner|owner of) (?:your|this|the) (?:\w+ )?(?:account|user|address|"
    r"domain)",
    r"\byour (?:host|server|ip)\b.{0,30}(?:not (?:\w+ )?(?:allow|permit|accept)|listed|denied|"
    r"refus)",
    r"(?:ihr|ihre) (?:\w+-?)*konto\b.{0,40}(?:nicht|gesperrt|deaktiviert)",
    r"not an? (?:\w+ )?sender|required for sender|activate your (?:\w+ )?account",
    r"\bsending (?:\w+ ){0,2}(?:suspended|paused|disabled|blocked|stopped)",
    r"(?:not|isn't) (?:\w+ )?(?:owned|own) by|sender.?verif\w+ fail|verify your (?:domain|"
    r"sender|e)",
    r"(?:address|identit(?:y|ies)|domain) (?:is |are |was )?(?:not |un)(?:yet )?verified",
    r"send ?as ?denied|(?:permissions?|rights?) to send|send(?:ing)? (?:as|on behalf)",
    r"client host rejected\W+access|storedrv\.submission|cannot submit message",
    r"\b(?:your|smtp|sending|sender'?s?|api) (?:\w+ ){0,3}account\b.{0,60}(?:not |suspend|disabl|"
    r"block|deactivat|lock|inactive|clos|restrict|review|frozen|terminat|expired|unpaid|"
    r"past due)",
    r"account .{0,30}(?:not (?:yet )?activated|not (?:allowed|authori[sz]ed) to)",
    r"(?:upgrade|change) (?:to a |to an |your |the )?(?:\w+ )?(?:plan|subscription|account)|"
    r"free (?:accounts?|plan)",
    r"test purposes|sandbox|trial (?:account|mode|period)|test mode",
    r"invalid credentials for relay|ip address you've registered",
    r"\b(?:your|client|sending|source|connecting)? ?(?:ip|"
    r"ip address)\b.{0,60}(?:not (?:\w+ )?(?:allow|"
    r"authori[sz]|whitelist|allow-?list|register|permit|list)|n't match|unauthori[sz]ed)",
    r"(?:unauthori[sz]ed|unrecogni[sz]ed) (?:client )?ip\b",
)
_RELAY = _any(
    r"relay(?:ing)? (?:access |operation )?(?:is )?(?:denied|not (?:permitted|allowed)|"
    r"prohibited|rejected|disallowed)",
    r"(?:unable|not (?:allowed|permitted)|cannot|can't|won't|will not|do(?:es)?n't|"
    r"do(?:es)? not|refuse) (?:to )?relay",
    r"no relay(?:ing)?\b|rcpthosts|keine weiterleitung|relay\w* (?:nicht|verweigert)",
)
_LISTED = _any(
    r"(?<!ip )(?<!sender )(?<!your )\baddress(?:es)? (?:is |are |was |has been )?"
    r"(?:blacklisted|blocklisted|suppressed|unsubscribed)",
    r"(?:on|in|by|to) (?:the|a|an|our|your|its|this account's)?(?: [\w-]+){0,4}? ?"
    r"(?:suppress(?:ion)?s?|bounce|unsubscribe)(?:d)?(?: |-)?(?:list|rule|group)?\b",
    r"suppression ?list|suppressed (?:recipient|address|e-?mail)|"
    r"recipients? (?:\w+ ){0,2}suppressed",
    r"recipient (?:is |was )?(?:black|block|deny)listed|blocked (?:contact|recipient)",
    r"(?:do-?not-?|never-?)(?:send|mail|e-?mail) list",
    r"(?:previously|already|has) (?:hard )?(?:bounced|unsubscribed|complained)",
    r"marked as (?:inactive|bounced|spam|invalid)|inactive recipients?",
    r"(?:bounced|unsubscribed|spam report\w*) address|recipient .{0,30}(?:unsubscribed|"
    r"opted out)",
)
_CONTENT = _any(
    r"(?:mail|message|e-?mail)? ?content (?:is |was |has been )?(?:denied|rejected|refused|"
    r"not (?:allowed|accepted))",
    r"(?:virus|malware|phish\w*|attachment)\b.{0,40}(?:found|detected|reject|not allowed|block)",
)
_DISTRUST = _any(
    r"spam|blocked|(?:block|black|deny) ?list|reputation|\bspf\b|dkim|dmarc|dnsbl|\brbl\b|"
    r"unsolicited|banned",
    r"reverse dns|\brdns\b|\bptr\b|poor score|abuse|gesperrt",
)
_PERSON = (
    r"user(?:name)?|recipients?|mailbox|account|address(?:ee)?|alias|inbox|destination|"
    r"local ?part|"
    r"customer|subscriber|empf\S{1,4}nger\w*|postfach|benutzer\w*|utilisateur|destinataire|"
    r"bo\S{1,4}te|usuario|buz\S{1,4}n|destinatari[oa]|utente|casella|gebruiker|ontvanger|"
    r"usu\S{1,4}rio|"
    r"adresse"
)
_GONE = (
    r"unknown|not (?:be )?(?:\w+ )?(?:found|exist\w*|known|valid|active|available|listed|local|"
    r"here|recogni[sz]ed)|"
    r"unavailable|disabled|inactive|deactivated|suspended|closed|expired|terminated|invalid|"
    r"deleted|"
    r"nonexist\w*|non-exist\w*|undeliverable|unrouteable|unroutable|no longer|"
    r"(?:do(?:es|n)?(?:n't| not)?|has|could) ?(?:not )?(?:have|exist\w*|match)|lookup failed|"
    r"unbekannt|nicht (?:\w+ )?(?:gefunden|vorhanden|verf\S{1,4}gbar|bekannt)|existiert nicht|"
    r"ung\S{1,4}ltig|deaktiviert|inconnue?|inexistante?|n'existe|desconocid[oa]|no existe|"
    r"sconosciut[oa]|inesistente|onbekend|desconhecid[oa]|n\S{1,3}o existe"
)
_NO_USER = _any(
    rf"\b(?:{_PERSON})\b[\w' :,()<>-]{{0,40}}?\b(?:{_GONE})",
    r"(?:no such|unknown|invalid|non-?existent|unrecogni[sz]ed|bad|illegal|unbekannter?|"
    r"unbekannte|onbekende"
    rf"|not a valid|no valid|kein|wrong|incorrect)(?: or illegal)? (?:\w+ )?(?:{_PERSON}|"
    rf"person|domain|host|alias)\b",
    r"no (?:mailbox|user|one|account|recipient)\b.{0,20}(?:here|by that name|with|named|at)",
    r"unrouteable|unroutable|doesn't have an? [\w.]* ?account|not our customer|no longer (?:at|"
    r"with|on|available|active|valid|in use)",
    r"not listed in .{0,30}directory|recipientnotfound|recipnotfound|no mx|null mx|"
    r"accepts no mail",
    r"domain (?:name )?(?:not found|does ?n.t exist|doesn't exist|does not exist|is invalid)",
    r"delivery (?:not authori[sz]ed|to this).{0,20}|"
    r"recipient (?:address )?rejected\W*(?:access denied|$)|recipient not allowed",
)
_TLS = _any(r"starttls|encryption (?:is )?(?:required|needed)|requires tls|tls (?:is )?required")
_SIZE = _any(r"(?:message|size|mail)[\w ]{0,24}(?:too (?:big|large|long)|exceed)")


class _Idea(NamedTuple):
    pattern: re.Pattern[str]
    passing: ReplyClass
    final: ReplyClass


_C = ReplyClass
_IDEAS: tuple[_Idea, ...] = (
    # The first match wins, so the more specific ones come first.
    _Idea(_RECIPIENT_RATE, _C.GREYLISTED, _C.GREYLISTED),
    _Idea(_FULL, _C.MAILBOX_FULL, _C.MAILBOX_FULL),
    _Idea(_QUOTA, _C.QUOTA, _C.QUOTA),
    _Idea(_GREY, _C.GREYLISTED, _C.GREYLISTED),
    _Idea(_THROTTLE, _C.THROTTLED, _C.THROTTLED),
    _Idea(_COME_BACK, _C.GREYLISTED, _C.GREYLISTED),
    _Idea(_RESTRICTED, _C.TRANSIENT, _C.HARD_BOUNCE),
    _Idea(_AS_SENDER, _C.SENDER, _C.SENDER),
    _Idea(_LOGIN, _C.AUTH, _C.AUTH),
    _Idea(_SENDER, _C.SENDER, _C.SENDER),
    _Idea(_RELAY, _C.AUTH, _C.AUTH),
    _Idea(_LISTED, _C.TRANSIENT, _C.PROVIDER_SUPPRESSED),
    _Idea(_CONTENT, _C.TRANSIENT, _C.CONTENT),
    _Idea(_DISTRUST, _C.TRANSIENT, _C.REPUTATION),
    _Idea(_NO_USER, _C.TRANSIENT, _C.HARD_BOUNCE),
    _Idea(_SIZE, _C.CONTENT, _C.CONTENT),
)


def meanings(words: str, *, is_final: bool) -> Iterable[ReplyClass]:
    """Return possible meanings of words (from `words_of`), the likeliest first."""
    for idea in _IDEAS:
        if not idea.pattern.search(words):
            continue
        if idea.pattern is _QUOTA and _SIZES.search(words):
            continue
        if idea.pattern is _THROTTLE and is_final and _NO_RATE.search(words):
            continue
        yield idea.final if is_final else idea.passing


def names_recipient(words: str) -> bool:
    """Whether words say that the recipient doesn't exist, is closed, or accepts no such mail."""
    return _NO_USER.search(words) is not None or _RESTRICTED.search(words) is not None


def speaks_of_sender(words: str) -> bool:
    """Whether words are chiefly about the sender's address or our host."""
    return re.search(rf"\b(?:{_US})\b|{_HELO}", words) is not None


def refuses_host(words: str) -> bool:
    """Whether a greeting's words are about our host."""
    return _DISTRUST.search(words) is not None or _HOST.search(words) is not None


def speaks_of_greylist(words: str) -> bool:
    """Whether words mention greylisting, and not only a time to retry."""
    return _GREY.search(words) is not None


def wants_tls(words: str) -> bool:
    """Whether words demand encryption."""
    return _TLS.search(words) is not None


_HOST = _any(
    rf"{_HELO}|denied|denies|reject|refus|not (?:\w+ )?(?:allowed|authori[sz]ed|permitted|"
    rf"accepted|welcome)",
    r"hostname|host name|policy|verboten|abgelehnt",
)
