using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Local.Images;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

[Trait("Category", "Unit")]
public sealed class OciImageTests : IDisposable
{
    private const string Name = "docker.io/edge/test:1.0";
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void The_same_files_give_the_same_bytes_whatever_their_times_and_the_order_they_are_added_in()
    {
        var (a, b) = (Source("a", "one"), Source("b", "two"));
        var first = Bytes(OciImage.Create(Name).Add(a, "/app/a").Add(b, "/app/b"));
        File.SetLastWriteTimeUtc(a, new DateTime(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc));
        File.SetLastWriteTimeUtc(b, new DateTime(2011, 2, 3, 4, 5, 6, DateTimeKind.Utc));
        var second = Bytes(OciImage.Create(Name).Add(b, "app/b").Add(a, "app/a"));
        Assert.Equal(Convert.ToHexString(SHA256.HashData(first)), Convert.ToHexString(SHA256.HashData(second)));
        File.WriteAllText(b, "other");
        Assert.NotEqual(first, Bytes(OciImage.Create(Name).Add(a, "app/a").Add(b, "app/b")));
    }

    [Fact]
    public void Entries_are_sorted_each_below_its_directory_and_owned_by_root_at_time_zero()
    {
        var layer = Layer(Blobs(Bytes(OciImage.Create(Name).Add(Source("z", "z"), "/opt/deep/z").Add(Source("a", "a"), "bin/a"))));
        var names = layer.Select(entry => entry.Name.TrimEnd('/')).ToList();
        Assert.Equal(names.Order(StringComparer.Ordinal), names);
        Assert.Equal(names.Distinct(), names);
        Assert.All(names.Where(name => name.Contains('/', StringComparison.Ordinal)), name => Assert.Contains(name[..name.LastIndexOf('/')], names));
        Assert.Contains("opt/deep/z", names);
        Assert.All(layer, entry => Assert.Equal((0, 0, DateTimeOffset.UnixEpoch), (entry.Uid, entry.Gid, entry.ModificationTime)));
        Assert.Equal((UnixFileMode)0b001_111_111_111, layer.Single(entry => entry.Name == "tmp/").Mode);
    }

    [Fact]
    public void A_folder_comes_with_all_its_files_and_programs_stay_executable()
    {
        var folder = Directory.CreateDirectory(_directory.File("tree/sub")).Parent!.FullName;
        File.WriteAllText(Path.Combine(folder, "data"), "d");
        var program = Path.Combine(folder, "sub", "program");
        File.WriteAllText(program, "#!/bin/sh\n");
        File.SetUnixFileMode(program, (UnixFileMode)0b111_000_000);
        var layer = Layer(Blobs(Bytes(OciImage.Create(Name).Add(folder, "/srv"))));
        Assert.Equal((UnixFileMode)0b110_100_100, layer.Single(entry => entry.Name == "srv/data").Mode);
        Assert.Equal((UnixFileMode)0b111_101_101, layer.Single(entry => entry.Name == "srv/sub/program").Mode);
        Assert.Equal((UnixFileMode)0b111_101_101, layer.Single(entry => entry.Name == "srv/sub/").Mode);
    }

    [Fact]
    public void Busybox_gets_a_link_for_each_applet()
    {
        var layer = Layer(Blobs(Bytes(OciImage.Create(Name).AddBusybox(Source("busybox", "elf"), ["sh", "ls", "busybox", ""]))));
        Assert.Equal(["bin/ls", "bin/sh"], layer.Where(entry => entry.EntryType == TarEntryType.SymbolicLink).Select(entry => entry.Name));
        Assert.All(layer.Where(entry => entry.EntryType == TarEntryType.SymbolicLink), entry => Assert.Equal("busybox", entry.LinkName));
        Assert.Equal(TarEntryType.RegularFile, layer.Single(entry => entry.Name == "bin/busybox").EntryType);
    }

    [Fact]
    public void Every_digest_and_size_of_the_manifest_is_that_of_its_blob()
    {
        var image = OciImage.Create(Name).Add(Source("a", "one"), "a");
        image.Entrypoint = ["/a"];
        image.Command = ["-v"];
        image.Environment = ["A=b"];
        var blobs = Blobs(Bytes(image));
        Assert.Equal("1.0.0", (string)Json(blobs["oci-layout"])["imageLayoutVersion"]!);
        foreach (var (path, bytes) in blobs.Where(blob => blob.Key.StartsWith("blobs/", StringComparison.Ordinal)))
            Assert.Equal(path, "blobs/sha256/" + Convert.ToHexStringLower(SHA256.HashData(bytes)));

        var entry = (JsonObject)Json(blobs["index.json"])["manifests"]![0]!;
        Assert.Equal(Name, (string)entry["annotations"]!["io.containerd.image.name"]!);
        Assert.Equal("1.0", (string)entry["annotations"]!["org.opencontainers.image.ref.name"]!);
        var manifest = Json(Followed(blobs, entry));
        var layer = Followed(blobs, (JsonObject)manifest["layers"]![0]!);
        var config = Json(Followed(blobs, (JsonObject)manifest["config"]!));
        Assert.Equal("sha256:" + Convert.ToHexStringLower(SHA256.HashData(layer)), (string)config["rootfs"]!["diff_ids"]![0]!);
        Assert.Equal("""["/a"] ["-v"] ["A=b"]""", $"{Text(config, "Entrypoint")} {Text(config, "Cmd")} {Text(config, "Env")}");
    }

    [Theory]
    [InlineData("busybox")]
    [InlineData("busybox:1.0")]
    [InlineData("edge/busybox:1.0")]
    [InlineData("docker.io/edge/busybox")]
    [InlineData("docker.io/edge/busybox:")]
    [InlineData("registry.local:5000/edge/busybox")]
    [InlineData("/edge/busybox:1.0")]
    [InlineData("docker.io/Edge/Busybox:1.0")]
    [InlineData("docker.io/edge/bus box:1.0")]
    [InlineData("docker.io/edge//busybox:1.0")]
    [InlineData("docker.io/edge/busybox:-x")]
    [InlineData("")]
    public void A_name_that_is_no_full_reference_is_refused_with_an_example(string name)
    {
        var e = Assert.Throws<ImageException>(() => OciImage.Create(name));
        Assert.Contains($"'{name}'", e.Message, StringComparison.Ordinal);
        Assert.Contains("docker.io/edge/busybox:1.0", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("docker.io/edge/busybox:1.0")]
    [InlineData("docker.io/busybox:latest")]
    [InlineData("registry.local:5000/a/b-c/d_e.f:v1.2.3-rc.1")]
    public void A_full_reference_is_taken(string name) => Assert.Equal(name, OciImage.Create(name).Name);

    [Fact]
    public void A_missing_source_is_named()
    {
        var missing = _directory.File("nowhere");
        Assert.Contains(missing, Assert.Throws<ImageException>(() => OciImage.Create(Name).Add(missing, "x")).Message, StringComparison.Ordinal);
        Assert.Contains(missing, Assert.Throws<ImageException>(() => OciImage.Create(Name).AddBusybox(missing, ["sh"])).Message, StringComparison.Ordinal);
        Assert.Contains(missing, Assert.Throws<ImageException>(() => OciImage.Create(Name).AddLibrariesOf(missing)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_program_needs_no_libraries()
        => Assert.Empty(SharedLibraries.Of(Source("text", "no program")));

    private static byte[] Bytes(OciImage image)
    {
        using var buffer = new MemoryStream();
        image.Write(buffer);
        return buffer.ToArray();
    }

    private static Dictionary<string, byte[]> Blobs(byte[] archive)
    {
        var blobs = new Dictionary<string, byte[]>();
        using var tar = new TarReader(new MemoryStream(archive));
        while (tar.GetNextEntry(copyData: true) is { } entry)
        {
            using var data = new MemoryStream();
            entry.DataStream?.CopyTo(data);
            blobs.Add(entry.Name, data.ToArray());
        }

        return blobs;
    }

    private static List<TarEntry> Layer(Dictionary<string, byte[]> blobs)
    {
        var manifest = Json(Followed(blobs, (JsonObject)Json(blobs["index.json"])["manifests"]![0]!));
        var entries = new List<TarEntry>();
        using var tar = new TarReader(new MemoryStream(Followed(blobs, (JsonObject)manifest["layers"]![0]!)));
        while (tar.GetNextEntry(copyData: true) is { } entry)
            entries.Add(entry);
        return entries;
    }

    private static byte[] Followed(Dictionary<string, byte[]> blobs, JsonObject descriptor)
    {
        var bytes = blobs["blobs/" + ((string)descriptor["digest"]!).Replace(':', '/')];
        Assert.Equal(bytes.Length, (int)descriptor["size"]!);
        return bytes;
    }

    private static JsonObject Json(byte[] bytes) => (JsonObject)JsonNode.Parse(Encoding.UTF8.GetString(bytes))!;

    private static string Text(JsonObject config, string member) => config["config"]![member]!.ToJsonString();

    private string Source(string name, string text)
    {
        File.WriteAllText(_directory.File(name), text);
        return _directory.File(name);
    }
}
