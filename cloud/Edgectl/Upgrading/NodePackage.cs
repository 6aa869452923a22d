using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Upgrading;

/// <summary>A version of edgecore for nodes: a tar.gz with <c>manifest.json</c> first and then the files of the program's directory, and beside it <c>.sig</c>, an ECDSA P-256
/// signature of the whole archive over SHA-256 in DER, as <c>openssl dgst -sha256 -sign</c> makes it.</summary>
/// <remarks>The manifest has format, version, architecture (amd64, arm64) and the SHA-256 of each file; what is not in it is refused.</remarks>
internal static class NodePackage
{
    public const string Program = "edgecore";
    public const string ManifestName = "manifest.json";
    private const string Format = "edge-node-package/v1";
    private const long BytesMax = 2L << 30;
    private const int FilesMax = 5_000;
    private const int ManifestBytesMax = 4 << 20;
    private const int SignatureBytesMax = 1024;

    public static string SignaturePath(string package) => package + ".sig";

    /// <summary>amd64 or arm64, as Debian and Kubernetes call them.</summary>
    public static string ThisArchitecture => RuntimeInformation.OSArchitecture switch
    {
        Architecture.X64 => "amd64",
        Architecture.Arm64 => "arm64",
        var other => other.ToString().ToLowerInvariant(),
    };

    /// <summary>Packs a directory of a published edgecore, and signs it.</summary>
    /// <exception cref="UpgradeException">The directory has no edgecore, the package exists, or the key is none.</exception>
    public static void Write(string directory, string version, string architecture, string keyPem, string package)
    {
        if (!File.Exists(Path.Combine(directory, Program)))
            throw new UpgradeException($"{directory} has no {Program}; name the directory that 'dotnet publish' wrote");
        if (File.Exists(package))
            throw new UpgradeException($"{package} exists; a package is never overwritten");
        using var key = ReadKey(keyPem, "the private key");
        var files = Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(directory, path)).Order(StringComparer.Ordinal).ToList();
        if (files.Count > FilesMax)
            throw new UpgradeException($"{directory} has {files.Count} files, more than the {FilesMax} of a package");
        var manifest = new JsonObject
        {
            ["format"] = Format, ["version"] = version, ["architecture"] = architecture,
            ["sha256"] = new JsonObject(files.Select(file => KeyValuePair.Create(file, (JsonNode?)Hash(Path.Combine(directory, file))))),
        };
        using (var output = new FileStream(package, FileMode.CreateNew, FileAccess.Write))
        using (var gzip = new GZipStream(output, CompressionLevel.Optimal))
        using (var tar = new TarWriter(gzip))
        {
            using var text = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(manifest.ToJsonString()));
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, ManifestName) { DataStream = text });
            foreach (var file in files)
                tar.WriteEntry(Path.Combine(directory, file), "files/" + file);
        }

        using var signed = File.OpenRead(package);
        File.WriteAllBytes(SignaturePath(package), key.SignData(signed, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
    }

    /// <summary>Copies a package to a place of its own and checks its signature there, so that what was checked is what is unpacked.</summary>
    /// <exception cref="UpgradeException">It is not there, unsigned or signed by another key.</exception>
    public static void CopyVerified(string package, string publicKeyPem, string copy)
    {
        if (!File.Exists(package))
            throw new UpgradeException($"there is no file {package}");
        var signature = SignaturePath(package);
        if (!File.Exists(signature))
            throw new UpgradeException($"{package} is not signed: there is no {signature}; unsigned packages are never installed");
        if (new FileInfo(signature).Length > SignatureBytesMax)
            throw new UpgradeException($"{signature} is no signature: it has more than {SignatureBytesMax} bytes");
        if (new FileInfo(package).Length > BytesMax)
            throw new UpgradeException($"{package} has more than the {BytesMax} bytes of a package");
        using var key = ReadKey(publicKeyPem, "the public key");
        var bytes = File.ReadAllBytes(signature);
        using (var from = File.OpenRead(package))
        using (var to = new FileStream(copy, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
            from.CopyTo(to);
        using var copied = File.OpenRead(copy);
        if (!key.VerifyData(copied, bytes, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))
            throw new UpgradeException($"{signature} is not the signature of {package} by the public key of this node: the package was changed, or somebody else signed it");
    }

    /// <summary>Unpacks a package whose signature is checked already.</summary>
    /// <exception cref="UpgradeException">It is of another version or architecture, or not as its manifest says.</exception>
    public static void Unpack(string package, string version, string directory)
    {
        try
        {
            using var file = File.OpenRead(package);
            using var gzip = new GZipStream(file, CompressionMode.Decompress);
            using var tar = new TarReader(gzip);
            var sums = ReadManifest(tar.GetNextEntry(), version);
            var left = BytesMax;
            while (tar.GetNextEntry() is { } entry)
            {
                var name = entry.Name.StartsWith("files/", StringComparison.Ordinal) ? entry.Name["files/".Length..] : "";
                if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || !sums.Remove(name, out var sum) || name.Split('/').Any(part => part is "" or "." or ".."))
                    throw new UpgradeException($"the package has an entry '{entry.Name}', which its manifest does not name as a file");
                if ((left -= entry.Length) < 0)
                    throw new UpgradeException($"the package has more than {BytesMax} bytes unpacked");
                var path = Path.Combine(directory, name);
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                var mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
                if (name == Program || entry.Mode.HasFlag(UnixFileMode.UserExecute))
                    mode |= UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
                using (var to = new FileStream(path, FileMode.CreateNew, FileAccess.Write))
                {
                    entry.DataStream?.CopyTo(to);
                    to.Flush(flushToDisk: true);
                }

                // After the umask, which a service may have as 0077.
                File.SetUnixFileMode(path, mode);
                if (Hash(path) != sum)
                    throw new UpgradeException($"{name} of the package does not have the SHA-256 of its manifest");
            }

            if (sums.Count > 0)
                throw new UpgradeException($"the package lacks {sums.Keys.Order(StringComparer.Ordinal).First()}, which its manifest names");
            if (!File.Exists(Path.Combine(directory, Program)))
                throw new UpgradeException($"the package has no {Program}");
            ProgramDirectory.Flush(directory);
        }
        catch (Exception e) when (e is InvalidDataException or JsonException or EndOfStreamException or FormatException)
        {
            throw new UpgradeException($"the package cannot be read: {e.Message}");
        }
    }

    /// <summary>The SHA-256 of a file in lower-case hexadecimal.</summary>
    public static string Hash(string path)
    {
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    private static Dictionary<string, string> ReadManifest(TarEntry? entry, string version)
    {
        if (entry is not { Name: ManifestName, DataStream: not null, Length: <= ManifestBytesMax })
            throw new UpgradeException($"the package does not begin with a {ManifestName} of at most {ManifestBytesMax} bytes");
        var manifest = JsonNode.Parse(entry.DataStream) as JsonObject;
        if (manifest.Text("format") != Format)
            throw new UpgradeException($"the package's format is '{manifest.Text("format")}', must be {Format}");
        // Signed packages of former versions stay signed: the version asked for must be the one inside.
        if (manifest.Text("version") != version)
            throw new UpgradeException($"the package is of version '{manifest.Text("version")}', not '{version}'");
        if (manifest.Text("architecture") != ThisArchitecture)
            throw new UpgradeException($"the package is for '{manifest.Text("architecture")}', this machine is {ThisArchitecture}");
        return manifest.At("sha256") is JsonObject { Count: > 0 and <= FilesMax } sums ? sums.ToDictionary(pair => pair.Key, pair => sums.Text(pair.Key), StringComparer.Ordinal)
            : throw new UpgradeException($"the package's manifest names no files, or more than {FilesMax}");
    }

    private static ECDsa ReadKey(string pem, string what)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            if (key.KeySize == 256)
                return key;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            // Its words may tell of the key.
        }

        key.Dispose();
        throw new UpgradeException($"{what} is not an ECDSA P-256 key in PEM; make one with 'openssl ecparam -name prime256v1 -genkey -noout -out key.pem', its public part with 'openssl ec -in key.pem -pubout'");
    }
}
