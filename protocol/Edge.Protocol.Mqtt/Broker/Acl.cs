using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Who may do what, by the rules of the options (pure).</summary>
internal sealed class Acl(IReadOnlyList<MqttAclRule> rules)
{
    /// <summary>May publish to, or get messages of, this topic.</summary>
    public bool Allows(string? user, string clientId, string topic, MqttAccess access)
    {
        if (rules.Count == 0)
            return true;
        foreach (var rule in rules)
        {
            if (Fits(rule, user, access) && Expand(rule.Pattern, user, clientId) is { } pattern && MqttTopic.Matches(pattern, topic))
                return rule.Allow;
        }

        return false;
    }

    /// <summary>May subscribe to this filter: something of it is allowed. Of a wider filter only the messages come that <see cref="Allows"/> lets through.</summary>
    public bool AllowsFilter(string? user, string clientId, string filter)
    {
        if (rules.Count == 0)
            return true;
        foreach (var rule in rules)
        {
            if (!Fits(rule, user, MqttAccess.Read) || Expand(rule.Pattern, user, clientId) is not { } pattern)
                continue;
            if (rule.Allow ? Overlaps(pattern.Split('/'), filter.Split('/')) : Covers(pattern.Split('/'), filter.Split('/')))
                return rule.Allow;
        }

        return false;
    }

    /// <summary>True when some topic matches both filters.</summary>
    internal static bool Overlaps(ReadOnlySpan<string> one, ReadOnlySpan<string> other)
    {
        while (true)
        {
            if (one is ["#", ..] || other is ["#", ..])
                return true;
            if (one.IsEmpty || other.IsEmpty)
                return one.IsEmpty && other.IsEmpty;
            if (one[0] != "+" && other[0] != "+" && one[0] != other[0])
                return false;
            one = one[1..];
            other = other[1..];
        }
    }

    /// <summary>True when every topic that matches <paramref name="filter"/> matches <paramref name="pattern"/>.</summary>
    internal static bool Covers(ReadOnlySpan<string> pattern, ReadOnlySpan<string> filter)
    {
        while (true)
        {
            if (pattern is ["#"])
                return true;
            if (pattern.IsEmpty || filter.IsEmpty)
                return pattern.IsEmpty && filter.IsEmpty;
            if (filter[0] == "#" || (pattern[0] != "+" && pattern[0] != filter[0]))
                return false;
            pattern = pattern[1..];
            filter = filter[1..];
        }
    }

    private static bool Fits(MqttAclRule rule, string? user, MqttAccess access) => (rule.Access & access) != 0 && (rule.User == "*" || rule.User == (user ?? ""));

    // Null: the rule cannot fit this client.
    private static string? Expand(string pattern, string? user, string clientId)
    {
        if (!pattern.Contains('%'))
            return pattern;
        if (pattern.Contains("%u", StringComparison.Ordinal))
        {
            if (!IsPlain(user))
                return null;
            pattern = pattern.Replace("%u", user, StringComparison.Ordinal);
        }

        if (!pattern.Contains("%c", StringComparison.Ordinal))
            return pattern;
        return IsPlain(clientId) ? pattern.Replace("%c", clientId, StringComparison.Ordinal) : null;
    }

    // A client called '#' must not so get everybody's topics.
    private static bool IsPlain(string? name) => !string.IsNullOrEmpty(name) && !name.AsSpan().ContainsAny("+#/%");
}
