using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Edge.Local.Images;

/// <summary>An image that cannot be built from what was given; the message names the file.</summary>
public sealed class ImageException(string message) : Exception(message);

/// <summary>Builds a small OCI image of one layer from local files, without a registry or a builder.</summary>
/// <remarks>The same files give the same bytes: entries are sorted, times are zero, owner is root. Source: OCI image specification 1.0
/// (image-layout, manifest, config); containerd takes the name from the annotation <c>io.containerd.image.name</c>.</remarks>
public sealed partial class OciImage
{
    private const string LayerType = "application/vnd.oci.image.layer.v1.tar";
    private const string ConfigType = "application/vnd.oci.image.config.v1+json";
    private const string ManifestType = "application/vnd.oci.image.manifest.v1+json";
    private readonly SortedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    private OciImage(string name) => Name = name;

    /// <summary>The full reference, e.g. <c>docker.io/edge/busybox:1.0</c>.</summary>
    public string Name { get; }

    public IReadOnlyList<string> Entrypoint { get; set; } = [];

    public IReadOnlyList<string> Command { get; set; } = [];

    /// <summary><c>KEY=value</c> texts.</summary>
    public IReadOnlyList<string> Environment { get; set; } = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

    /// <summary>An image with /tmp, /etc/passwd and /etc/group, and nothing that runs.</summary>
    /// <param name="name">A full reference with registry host and tag.</param>
    /// <exception cref="ImageException">The name is not a full reference.</exception>
    public static OciImage Create(string name)
    {
        if (!FullReference().IsMatch(name))
            throw new ImageException($"'{name}' is not a full image reference; write it as docker.io/edge/busybox:1.0");
        var image = new OciImage(name);
        image.AddDirectory("tmp", UnixFileMode.StickyBit | (UnixFileMode)0b111_111_111);
        image.AddText("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
        image.AddText("etc/group", "root:x:0:\nnogroup:x:65534:\n");
        return image;
    }

    /// <summary>Adds a static busybox and a link in /bin for each of its applets.</summary>
    /// <param name="applets">Names from <c>busybox --list</c>.</param>
    public OciImage AddBusybox(string program, IEnumerable<string> applets)
    {
        AddFile("bin/busybox", program);
        foreach (var applet in applets.Where(applet => applet is not ("busybox" or "")))
            AddLink($"bin/{applet}", "busybox");
        return this;
    }

    /// <summary>Adds a file, or a folder with everything in it, under <paramref name="target"/>.</summary>
    /// <exception cref="ImageException">There is nothing at <paramref name="source"/>.</exception>
    public OciImage Add(string source, string target)
    {
        if (File.Exists(source))
            return AddFile(target, source);
        if (!Directory.Exists(source))
            throw new ImageException($"{source}: there is no such file or folder to add to the image");
        AddDirectory(target, Readable | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        foreach (var path in Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories))
            AddFile($"{target}/{Path.GetRelativePath(source, path)}", path);
        return this;
    }

    /// <summary>Adds the shared libraries that the ELF files in a folder (or one file) need, under the paths they have here.</summary>
    public OciImage AddLibrariesOf(string source)
    {
        foreach (var library in SharedLibraries.Of(source))
            AddFile(library, library);
        return this;
    }

    /// <summary>Writes the OCI layout as a tar archive, as <c>ctr images import</c> takes it.</summary>
    public void Write(Stream output)
    {
        var layer = Layer();
        var layerDigest = Digest(layer);
        var config = Utf8(new JsonObject
        {
            ["architecture"] = "amd64",
            ["os"] = "linux",
            ["created"] = "1970-01-01T00:00:00Z",
            ["config"] = new JsonObject { ["Env"] = Texts(Environment), [nameof(Entrypoint)] = Texts(Entrypoint), ["Cmd"] = Texts(Command), ["WorkingDir"] = "/" },
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray(layerDigest) },
        });
        var manifest = Utf8(new JsonObject
        {
            ["schemaVersion"] = 2,
            ["mediaType"] = ManifestType,
            ["config"] = Descriptor(ConfigType, config),
            ["layers"] = new JsonArray(Descriptor(LayerType, layer)),
        });
        var entry = Descriptor(ManifestType, manifest);
        entry["annotations"] = new JsonObject
        {
            ["io.containerd.image.name"] = Name,
            ["org.opencontainers.image.ref.name"] = Name[(Name.LastIndexOf(':') + 1)..],
        };
        var index = Utf8(new JsonObject { ["schemaVersion"] = 2, ["manifests"] = new JsonArray(entry) });

        using var tar = new TarWriter(output, TarEntryFormat.Pax, leaveOpen: true);
        WriteBlob(tar, "oci-layout", """{"imageLayoutVersion":"1.0.0"}"""u8.ToArray());
        WriteBlob(tar, "index.json", index);
        foreach (var blob in (byte[][])[manifest, config, layer])
            WriteBlob(tar, "blobs/sha256/" + Digest(blob)["sha256:".Length..], blob);
    }

    // Host with a dot and perhaps a port, path of lower-case parts, tag: the distribution specification's grammar without digests.
    [GeneratedRegex(@"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]{1,5})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\z", RegexOptions.CultureInvariant)]
    private static partial Regex FullReference();

    private const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private byte[] Layer()
    {
        using var buffer = new MemoryStream();
        using (var tar = new TarWriter(buffer, TarEntryFormat.Pax, leaveOpen: true))
        {
            foreach (var (path, entry) in _entries)
            {
                var type = entry.Link is not null ? TarEntryType.SymbolicLink : entry.IsDirectory ? TarEntryType.Directory : TarEntryType.RegularFile;
                var item = new PaxTarEntry(type, entry.IsDirectory ? path + "/" : path) { ModificationTime = DateTimeOffset.UnixEpoch, Mode = entry.Mode };
                if (entry.Link is not null)
                    item.LinkName = entry.Link;
                using var data = entry.Text is not null ? new MemoryStream(entry.Text) : entry.Source is not null ? (Stream)File.OpenRead(entry.Source) : null;
                if (data is not null)
                    item.DataStream = data;
                tar.WriteEntry(item);
            }
        }

        return buffer.ToArray();
    }

    private OciImage AddFile(string target, string source)
    {
        if (!File.Exists(source))
            throw new ImageException($"{source}: there is no such file to add to the image");
        var mode = Readable | UnixFileMode.UserWrite;
        if ((File.GetUnixFileMode(source) & UnixFileMode.UserExecute) != 0)
            mode |= UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
        Put(target, new Entry(mode) { Source = source });
        return this;
    }

    private void AddText(string target, string text) => Put(target, new Entry(Readable | UnixFileMode.UserWrite) { Text = Encoding.UTF8.GetBytes(text) });

    private void AddLink(string target, string to) => Put(target, new Entry(Readable | (UnixFileMode)0b001_001_001) { Link = to });

    private void AddDirectory(string target, UnixFileMode mode) => Put(target, new Entry(mode) { IsDirectory = true });

    private void Put(string target, Entry entry)
    {
        var path = target.Trim('/');
        for (var slash = path.IndexOf('/', StringComparison.Ordinal); slash > 0; slash = path.IndexOf('/', slash + 1))
            _entries.TryAdd(path[..slash], new Entry(Readable | UnixFileMode.UserWrite | (UnixFileMode)0b001_001_001) { IsDirectory = true });
        _entries[path] = entry;
    }

    private static void WriteBlob(TarWriter tar, string path, byte[] bytes)
        => tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, path) { ModificationTime = DateTimeOffset.UnixEpoch, DataStream = new MemoryStream(bytes) });

    private static JsonObject Descriptor(string type, byte[] bytes) => new() { ["mediaType"] = type, ["digest"] = Digest(bytes), ["size"] = bytes.Length };

    private static string Digest(byte[] bytes) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static JsonArray Texts(IEnumerable<string> texts) => [.. texts.Select(text => (JsonNode)text)];

    private static byte[] Utf8(JsonObject json) => Encoding.UTF8.GetBytes(json.ToJsonString());

    private sealed record Entry(UnixFileMode Mode)
    {
        public string? Source { get; init; }

        public byte[]? Text { get; init; }

        public string? Link { get; init; }

        public bool IsDirectory { get; init; }
    }
}
