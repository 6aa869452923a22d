namespace Edge.GlobalServices.Resources;

/// <summary>Domain names as manifests have them: text, without escapes (RFC 1035 §2.3.1 widened by the underscore and, as the first label, the wildcard).</summary>
internal static class HostName
{
    /// <summary>What is wrong with it, or null.</summary>
    public static string? Problem(string name, bool allowWildcard)
    {
        var text = name.EndsWith('.') ? name[..^1] : name;
        if (text.Length == 0)
            return name == "." ? null : "is empty; write a domain name, e.g. shop.example.com";
        if (text.Length > 253)
            return $"'{text[..40]}...' has {text.Length} characters, a name has at most 253";
        var labels = text.Split('.');
        for (var i = 0; i < labels.Length; i++)
        {
            var label = labels[i];
            if (label.Length is 0 or > 63)
                return label.Length == 0 ? $"'{name}' has an empty label" : $"'{name}' has a label of {label.Length} characters, at most 63 are allowed";
            if (label == "*" && allowWildcard && i == 0)
                continue;
            if (label.FirstOrDefault(c => !(char.IsAsciiLetterOrDigit(c) || c is '-' or '_')) is var bad and not '\0')
                return $"'{name}' has the character '{bad}'; letters, digits, - and _ are allowed{(bad == '*' ? ", and * only as the first label of a static record" : "")}";
        }

        return null;
    }

    /// <summary>Lower case, without the last dot; the root is empty.</summary>
    public static string Canonical(string name) => (name.EndsWith('.') ? name[..^1] : name).ToLowerInvariant();

    /// <summary>Whether a canonical name is the zone's apex or below it.</summary>
    public static bool IsWithin(string name, string apex)
        => apex.Length == 0 || name == apex || (name.Length > apex.Length && name.EndsWith(apex, StringComparison.Ordinal) && name[^(apex.Length + 1)] == '.');
}
