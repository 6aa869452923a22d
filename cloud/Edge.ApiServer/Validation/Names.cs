using System.Buffers;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Validation;

/// <summary>Kubernetes' grammars of names, keys and values, with its messages. Each returns null when the text is right.</summary>
internal static class Names
{
    private static readonly SearchValues<char> s_labelLetters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");
    private static readonly SearchValues<char> s_wordLetters = SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    public static string? DnsLabel(string text)
        => text.Length > 63 ? TooLong(63) : IsLabel(text) ? null
            : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

    /// <summary>Names of services: as a label, with a letter first.</summary>
    public static string? Dns1035Label(string text)
        => text.Length > 63 ? TooLong(63) : IsLabel(text) && char.IsAsciiLetterLower(text[0]) ? null
            : "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

    public static string? DnsSubdomain(string text)
        => text.Length > 253 ? TooLong(253) : IsSubdomain(text) ? null
            : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

    /// <summary>Names of roles and bindings: whatever may stand in a path.</summary>
    public static string? PathSegment(string text) => text switch
    {
        "." or ".." => $"may not be '{text}'",
        _ when text.Contains('/', StringComparison.Ordinal) => "may not contain '/'",
        _ when text.Contains('%', StringComparison.Ordinal) => "may not contain '%'",
        _ => null,
    };

    /// <summary>Keys of labels, annotations, taints and conditions: an optional DNS prefix and a name.</summary>
    public static string? Qualified(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash >= 0 && text.IndexOf('/', slash + 1) >= 0)
            return "a qualified name " + NamePart[10..] + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        if (slash == 0)
            return "prefix part must be non-empty";
        if (slash > 0 && DnsSubdomain(text[..slash]) is { } fault)
            return $"prefix part {fault}";
        var name = text.AsSpan(slash + 1);
        return name.Length == 0 ? "name part must be non-empty" : name.Length > 63 ? $"name part {TooLong(63)}" : IsWord(name) ? null : NamePart;
    }

    public static string? LabelValue(string text)
        => text.Length > 63 ? TooLong(63) : text.Length == 0 || IsWord(text) ? null
            : "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

    /// <summary>Keys of ConfigMaps and Secrets, which become file names.</summary>
    public static string? DataKey(string text) => text switch
    {
        { Length: > 253 } => TooLong(253),
        "." or ".." => $"must not be '{text}'",
        _ when text.StartsWith("..", StringComparison.Ordinal) => "must not start with '..'",
        _ when text.Length > 0 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') => null,
        _ => "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    };

    /// <summary>Names of environment variables: printable ASCII without '='.</summary>
    public static string? EnvName(string text)
        => text.Length > 0 && text.All(c => c is > ' ' and < '\x7f' and not '=' or ' ') ? null
            : "a valid environment variable name must consist only of printable ASCII characters other than '='";

    /// <summary>Names of ports: as IANA service names.</summary>
    public static string? PortName(string text)
    {
        if (text.Length > 15)
            return "must be no more than 15 characters";
        if (text.Length == 0 || !text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-'))
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        if (!text.Any(char.IsAsciiLetterLower))
            return "must contain at least one letter (a-z)";
        return text.Contains("--", StringComparison.Ordinal) ? "must not contain consecutive hyphens"
            : text[0] == '-' || text[^1] == '-' ? "must not begin or end with a hyphen" : null;
    }

    public static string? PortNumber(long port) => port is >= 1 and <= 65535 ? null : "must be between 1 and 65535, inclusive";

    /// <summary>Checks a map of labels (metadata.labels, nodeSelector, service selectors).</summary>
    public static void Labels(JsonObject labels, string at, List<FieldError> errors)
    {
        foreach (var (key, value) in labels)
        {
            if (Qualified(key) is { } keyFault)
                errors.Add(Errors.Invalid(at, key, keyFault));
            if (value is JsonValue text && text.TryGetValue<string>(out var label) && LabelValue(label) is { } fault)
                errors.Add(Errors.Invalid(at, label, fault));
        }
    }

    private const string NamePart = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    private static string TooLong(int max) => $"must be no more than {max} characters";

    private static bool IsSubdomain(ReadOnlySpan<char> text)
    {
        foreach (var part in text.Split('.'))
        {
            if (!IsLabel(text[part]))
                return false;
        }

        return true;
    }

    private static bool IsLabel(ReadOnlySpan<char> text) => text.Length > 0 && !text.ContainsAnyExcept(s_labelLetters) && text[0] != '-' && text[^1] != '-';

    private static bool IsWord(ReadOnlySpan<char> text) => !text.ContainsAnyExcept(s_wordLetters) && char.IsAsciiLetterOrDigit(text[0]) && char.IsAsciiLetterOrDigit(text[^1]);
}
