using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Images;

/// <summary>What a registry is to be told. The password is in no text of this type.</summary>
internal sealed record RegistryCredential(string Username, string Password)
{
    public override string ToString() => $"credential of {Username}";
}

/// <summary>The credentials of a pod's imagePullSecrets, found by image as a kubelet finds them (pkg/credentialprovider/keyring.go): by host, port and path, <c>*</c> for a part of the
/// host, the longest path first. Pure.</summary>
internal sealed class Keyring
{
    private const string JsonType = "kubernetes.io/dockerconfigjson";
    private const string LegacyType = "kubernetes.io/dockercfg";
    private const string HubKey = "index.docker.io";

    private readonly SortedDictionary<string, List<RegistryCredential>> _credentials = new(Comparer<string>.Create((a, b) => string.CompareOrdinal(b, a)));

    /// <summary>Adds what a Secret holds. One of another type holds nothing.</summary>
    /// <param name="error">What is wrong with it, without its content.</param>
    public bool TryAdd(JsonObject secret, out string error)
    {
        var (key, isLegacy) = secret.Text("type") switch
        {
            JsonType => (".dockerconfigjson", false),
            LegacyType => (".dockercfg", true),
            _ => ("", false),
        };
        error = "";
        if (key.Length == 0)
            return true;
        JsonObject? entries = null;
        try
        {
            var config = JsonNode.Parse(Convert.FromBase64String(secret.Text("data", key)));
            entries = (isLegacy ? config : config.At("auths")) as JsonObject;
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            // Said below; the parser's own words may quote a password.
        }

        if (entries is null)
        {
            error = $"data[{key}] is not the JSON of a docker config{(isLegacy ? "" : " with auths")} in base64";
            return false;
        }

        foreach (var (registry, entry) in entries)
        {
            if (Read(entry) is not { } credential)
                error = $"data[{key}]: the entry of {registry} has no username and password, and no auth of user:password in base64";
            else if (Index(registry) is { } index)
                (_credentials.TryGetValue(index, out var list) ? list : _credentials[index] = []).Add(credential);
            else
                error = $"data[{key}]: {registry} is not a registry";
        }

        return error.Length == 0;
    }

    /// <summary>The credentials to try, in order; empty for a registry that none is for.</summary>
    /// <param name="repository">Full, as <see cref="ImageName"/> gives it.</param>
    public IReadOnlyList<RegistryCredential> Lookup(string repository)
    {
        var found = _credentials.Where(pair => Matches(pair.Key, repository)).SelectMany(pair => pair.Value).ToList();
        if (found.Count == 0 && repository.StartsWith("docker.io/", StringComparison.Ordinal) && _credentials.TryGetValue(HubKey, out var hub))
            found.AddRange(hub);
        return [.. found.Distinct()];
    }

    private static RegistryCredential? Read(JsonNode? entry)
    {
        var (user, password) = (entry.Text("username"), entry.Text("password"));
        if (entry.Text("auth") is not { Length: > 0 } auth)
            return user.Length > 0 ? new RegistryCredential(user, password) : null;

        // Docker leaves the padding out at times.
        var padded = auth.TrimEnd('=') is var bare && bare.Length % 4 > 0 ? bare + new string('=', 4 - bare.Length % 4) : bare;
        var bytes = new byte[padded.Length];
        if (!Convert.TryFromBase64String(padded, bytes, out var length))
            return null;
        var text = Encoding.UTF8.GetString(bytes, 0, length);
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? null : new RegistryCredential(text[..colon], text[(colon + 1)..]);
    }

    // Without scheme; /v1/ and /v2/ mean the host.
    private static string? Index(string registry)
    {
        var text = registry.StartsWith("https://", StringComparison.Ordinal) ? registry[8..] : registry.StartsWith("http://", StringComparison.Ordinal) ? registry[7..] : registry;
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var (host, path) = slash < 0 ? (text, "") : (text[..slash], text[slash..]);
        if (path.StartsWith("/v1/", StringComparison.Ordinal) || path.StartsWith("/v2/", StringComparison.Ordinal))
            path = path[3..];
        return host.Length == 0 || host.Any(char.IsWhiteSpace) ? null : host + (path == "/" ? "" : path);
    }

    private static bool Matches(string pattern, string repository)
    {
        var (host, port, path) = Parts(pattern);
        var (targetHost, targetPort, targetPath) = Parts(repository);
        return host.Length == targetHost.Length && port == targetPort && targetPath.StartsWith(path, StringComparison.Ordinal)
            && host.Zip(targetHost).All(pair => Glob(pair.First, pair.Second));
    }

    private static (string[] Host, string Port, string Path) Parts(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var (host, path) = slash < 0 ? (text, "") : (text[..slash], text[slash..]);
        var colon = host.LastIndexOf(':');
        return (host[..(colon < 0 ? host.Length : colon)].Split('.'), colon < 0 ? "" : host[(colon + 1)..], path);
    }

    private static bool Glob(string pattern, string text)
        => pattern.Contains('*', StringComparison.Ordinal) || pattern.Contains('?', StringComparison.Ordinal)
            ? Regex.IsMatch(text, "^" + Regex.Escape(pattern).Replace("\\*", ".*", StringComparison.Ordinal).Replace("\\?", ".", StringComparison.Ordinal) + "\\z", RegexOptions.NonBacktracking)
            : pattern == text;
}
