using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Kubernetes;

namespace Edge.Ctl.OnNode;

/// <summary>What <c>edgectl debug collect</c> packs for somebody else to look at: no secrets.</summary>
internal static partial class NodeBundle
{
    private const int FileMax = 8 * 1024 * 1024;

    // A shorter one is masked where its key stands; everywhere else it would take words with it.
    private const int SecretLengthMin = 6;

    /// <summary>Writes the archive (mode 0600).</summary>
    /// <param name="texts">Names and contents.</param>
    public static void Write(string path, IEnumerable<(string Name, string Text)> texts, DateTimeOffset now)
    {
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        using var zip = new GZipStream(file, CompressionLevel.Optimal);
        using var tar = new TarWriter(zip, TarEntryFormat.Pax);
        foreach (var (name, text) in texts)
        {
            var bytes = Encoding.UTF8.GetBytes(text.Length > FileMax ? text[^FileMax..] : text);
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, $"edge-debug/{name}") { DataStream = new MemoryStream(bytes), ModificationTime = now, Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        }
    }

    /// <summary>A config without its secrets: parsed, since YAML has more ways to write a value than a pattern knows. Comments go too; anything may stand in them. Pure.</summary>
    /// <param name="text">YAML or JSON.</param>
    /// <param name="secrets">Gets the values that were masked, so that other texts can be freed of them.</param>
    /// <returns>YAML; a sentence in its place where the text cannot be parsed.</returns>
    public static string Config(string text, ICollection<string> secrets)
    {
        try
        {
            var root = Manifests.ParseValue(text);
            Mask(root, secrets);
            return YamlWriter.Write(root);
        }
        catch (ManifestException e)
        {
            // Its message may show a piece of the text.
            return $"left out: the config cannot be parsed, so what is secret in it is not known ({e.GetType().Name}); 'edgectl config check' says where\n";
        }
    }

    /// <summary>The text with bearer tokens, JSON Web Tokens, private keys, values of secret keys, and all of <paramref name="secrets"/> replaced. Pure.</summary>
    public static string WithoutSecrets(string text, IEnumerable<string> secrets)
    {
        foreach (var secret in secrets.Where(secret => secret.Length >= SecretLengthMin).OrderByDescending(secret => secret.Length))
            text = text.Replace(secret, "***", StringComparison.Ordinal);
        return PrivateKey().Replace(Jwt().Replace(Bearer().Replace(SecretKey().Replace(SecretLine().Replace(text, "$1***"), "$1***"), "$1***"), "***"), "*** private key ***");
    }

    private static void Mask(JsonNode? node, ICollection<string> secrets)
    {
        switch (node)
        {
            case JsonObject map:
                foreach (var (key, value) in map.ToList())
                {
                    if (!SecretName().IsMatch(key))
                        Mask(value, secrets);
                    else if (value is not null)
                    {
                        Collect(value, secrets);
                        map[key] = "***";
                    }
                }

                break;
            case JsonArray list:
                foreach (var item in list)
                    Mask(item, secrets);
                break;
        }
    }

    private static void Collect(JsonNode? node, ICollection<string> secrets)
    {
        switch (node)
        {
            case JsonObject map:
                foreach (var (_, value) in map)
                    Collect(value, secrets);
                break;
            case JsonArray list:
                foreach (var item in list)
                    Collect(item, secrets);
                break;
            case JsonValue value when value.ToString() is { Length: > 0 } text:
                secrets.Add(text);
                break;
        }
    }

    // Files' names are no secrets, and are needed to find what is wrong.
    [GeneratedRegex(@"(?i)(token|password|passwd|secret|passphrase|credentials?|privatekey|apikey)s?(data)?$")]
    private static partial Regex SecretName();

    // A line that is a secret's alone: all of it, since it may have blanks.
    [GeneratedRegex(@"(?im)^([\s-]*[""']?[\w.-]*(?:token|password|passwd|secret|passphrase|privatekey|apikey)[""']?\s*[:=]\s*)\S.*$")]
    private static partial Regex SecretLine();

    // Within a line, as in flow style, JSON and logs; a quoted value ends with its quote.
    [GeneratedRegex(@"(?i)([{,\[\s][""']?[\w.-]*(?:token|password|passwd|secret|passphrase|privatekey|apikey)[""']?\s*[:=]\s*)(?:""(?:\\.|[^""\\])*""|'(?:''|[^'])*'|[^\s,}\]]+)")]
    private static partial Regex SecretKey();

    [GeneratedRegex(@"(?i)(bearer\s+)\S+")]
    private static partial Regex Bearer();

    [GeneratedRegex(@"[A-Za-z0-9_-]{8,}\.ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")]
    private static partial Regex Jwt();

    [GeneratedRegex(@"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----")]
    private static partial Regex PrivateKey();
}
