using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;

namespace Edge.Ctl.OnNode;

/// <summary>What <c>edgectl debug collect</c> packs for somebody else to look at: no secrets.</summary>
internal static partial class NodeBundle
{
    private const int FileMax = 8 * 1024 * 1024;

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

    /// <summary>The text with values of secret keys, bearer tokens, JSON Web Tokens and private keys replaced. Pure.</summary>
    public static string WithoutSecrets(string text)
        => PrivateKey().Replace(Jwt().Replace(Bearer().Replace(SecretKey().Replace(text, "$1***"), "$1***"), "***"), "*** private key ***");

    [GeneratedRegex(@"(?im)^(\s*[""']?[\w.-]*(?:token|password|secret|passphrase)[""']?\s*[:=]\s*)\S.*$")]
    private static partial Regex SecretKey();

    [GeneratedRegex(@"(?i)(bearer\s+)\S+")]
    private static partial Regex Bearer();

    [GeneratedRegex(@"[A-Za-z0-9_-]{8,}\.ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")]
    private static partial Regex Jwt();

    [GeneratedRegex(@"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----")]
    private static partial Regex PrivateKey();
}
