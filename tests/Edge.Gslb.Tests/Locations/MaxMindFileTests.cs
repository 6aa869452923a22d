using Edge.GlobalServices;
using Edge.GlobalServices.Locations;
using Edge.Testing;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class MaxMindFileTests
{
    private static readonly Dictionary<string, object> s_frankfurt = City("DE", "HE", 50.11, 8.68);
    private static readonly Dictionary<string, object> s_tokyo = City("JP", "13", 35.68, 139.69);

    [Theory]
    [InlineData(24)]
    [InlineData(28)]
    [InlineData(32)]
    public void Networks_of_both_versions_are_read_with_every_record_size(int recordBits)
    {
        var table = Table(MaxMindWriter.Write([(Net("192.0.2.0/24"), s_frankfurt), (Net("198.51.100.128/25"), s_tokyo), (Net("2001:db8::/33"), s_tokyo)], recordBits));
        Assert.Equal("DE/DE-HE (50.11, 8.68)", Find(table, "192.0.2.200", out var scope));
        Assert.Equal(24, scope);
        Assert.Equal("JP/JP-13 (35.68, 139.69)", Find(table, "198.51.100.200", out scope));
        Assert.Equal(25, scope);
        Assert.Equal("", Find(table, "198.51.100.100", out scope));
        Assert.Equal(25, scope);
        Assert.Equal("JP/JP-13 (35.68, 139.69)", Find(table, "2001:db8:1::1", out scope));
        Assert.Equal(33, scope);
        Assert.Equal("", Find(table, "2001:db8:8000::1", out scope));
        Assert.Equal(33, scope);
    }

    [Fact]
    public void A_file_of_IPv4_alone_is_read()
        => Assert.Equal("DE/DE-HE (50.11, 8.68)", Find(Table(MaxMindWriter.Write([(Net("192.0.2.0/24"), s_frankfurt)], 24, ipVersion: 4)), "192.0.2.1", out _));

    [Fact]
    public void Aliases_of_IPv4_are_walked_once()
    {
        var file = MaxMindFile.Open(MaxMindWriter.Write([(Net("192.0.2.0/24"), s_frankfurt)], alias: true));
        Assert.Equal([Net("192.0.2.0/24")], file.Networks().Select(one => one.Network));
    }

    [Fact]
    public void Every_type_of_data_is_read()
    {
        var record = new Dictionary<string, object>
        {
            ["text"] = "häuser", ["double"] = 1.5, ["float"] = -2.25f, ["bytes"] = new byte[] { 1, 2, 3 }, ["u16"] = (ushort)65_535, ["u32"] = uint.MaxValue, ["i32"] = -7, ["u64"] = ulong.MaxValue,
            ["u128"] = UInt128.MaxValue, ["yes"] = true, ["no"] = false, ["list"] = new object[] { "häuser", (ushort)0 }, ["long"] = new string('x', 300), ["longer"] = new string('y', 70_000),
            ["map"] = new Dictionary<string, object> { ["text"] = "häuser" },
        };
        var file = MaxMindFile.Open(MaxMindWriter.Write([(Net("0.0.0.0/1"), record), (Net("128.0.0.0/1"), new Dictionary<string, object> { ["again"] = new string('y', 70_000) })]));
        var places = file.Networks().Select(one => one.Record).ToList();
        Assert.Equivalent(record, file.Data.Read(places[0]), strict: true);
        // A pointer of three bytes.
        Assert.Equal(70_000, file.Data.Text(file.Data.Find(places[1], "again")).Length);
        Assert.Equal("häuser", file.Data.Text(file.Data.Find(places[0], "list", "0")));
        Assert.Equal(-1, file.Data.Find(places[0], "list", "2"));
        Assert.Equal(-1, file.Data.Find(places[0], "text", "deeper"));
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused_with_a_reason()
    {
        var whole = MaxMindWriter.Write([(Net("192.0.2.0/24"), s_frankfurt), (Net("2001:db8::/32"), s_tokyo)]);
        for (var length = 0; length < whole.Length; length++)
        {
            var error = Assert.Throws<MaxMindException>(() => MaxMindFile.Open(whole.AsMemory(0, length)).Locations());
            Assert.NotEmpty(error.Message);
        }
    }

    [Fact]
    public void A_file_that_lost_its_middle_says_that_it_is_cut_off()
    {
        var whole = MaxMindWriter.Write([(Net("192.0.2.0/24"), s_frankfurt)]);
        var error = Assert.Throws<MaxMindException>(() => MaxMindFile.Open(whole.AsMemory(400)));
        Assert.Contains("it is cut off", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_file_is_refused_or_read_and_never_anything_else()
    {
        var whole = MaxMindWriter.Write([.. Enumerable.Range(0, 40).Select(i => (Net($"10.{i}.0.0/16"), (object)City("DE", "HE", i, i)))]);
        var random = new Random(11);
        var refused = 0;
        for (var round = 0; round < 20_000; round++)
        {
            var copy = whole.ToArray();
            for (var i = random.Next(1, 5); i > 0; i--)
                copy[random.Next(copy.Length)] = (byte)random.Next(256);
            try
            {
                NetworkTable.Build(MaxMindFile.Open(copy).Locations().Networks.Select(one => (one.Network, one.Location)));
            }
            catch (MaxMindException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 1_000, 20_000);
    }

    [SkippableTheory]
    [InlineData(24)]
    [InlineData(28)]
    [InlineData(32)]
    public async Task The_same_file_read_by_mmdblookup_says_the_same(int recordBits)
    {
        Requires.MmdbLookup();
        using var directory = new TempDirectory();
        var random = new Random(recordBits);
        // Disjoint networks: the writer puts them down in any order.
        var networks = Enumerable.Range(0, 60).Select(i => (Net($"10.{i}.{random.Next(256)}.0/24"), (object)City(i % 2 == 0 ? "DE" : "JP", $"{random.Next(10)}", random.Next(-90, 90), random.Next(-180, 180)))).ToList();
        networks.Add((Net("2001:db8::/33"), s_tokyo));
        var file = directory.File("test.mmdb");
        await File.WriteAllBytesAsync(file, MaxMindWriter.Write(networks, recordBits, alias: true));
        var table = Table(await File.ReadAllBytesAsync(file));
        foreach (var address in networks.Take(12).Select(one => Network.ToIPAddress(one.Item1.Address | 7u).ToString()).Append("2001:db8::7").Append("192.0.2.1"))
        {
            var found = Find(table, address, out _);
            var theirs = await Edge.Local.Processes.Tool.TryRunAsync("mmdblookup", ["--file", file, "--ip", address, "country", "iso_code"], new Edge.Local.Processes.ToolOptions(TimeProvider.System), CancellationToken.None);
            Assert.Equal(found.Length > 0 ? $"\"{found[..2]}\" <utf8_string>" : "", theirs.Output.Trim());
            var latitude = await Edge.Local.Processes.Tool.TryRunAsync("mmdblookup", ["--file", file, "--ip", address, "location", "latitude"], new Edge.Local.Processes.ToolOptions(TimeProvider.System), CancellationToken.None);
            if (found.Length > 0)
                Assert.Equal(double.Parse(found[(found.IndexOf('(') + 1)..found.IndexOf(',')]), double.Parse(latitude.Output.Trim().Split(' ')[0]));
        }
    }

    [Fact]
    public void A_list_wins_over_a_database()
    {
        var home = new Location("DE", "eu", "home", null);
        var table = LocationTable.Build([(Net("192.0.0.0/16"), home)], [MaxMindFile.Open(MaxMindWriter.Write([(Net("192.0.2.0/24"), s_tokyo), (Net("198.51.100.0/24"), s_tokyo)])).Locations().Compile()]);
        Assert.Equal("DE/eu/home", Find(table, "192.0.2.1", out _));
        Assert.Equal("JP/JP-13 (35.68, 139.69)", Find(table, "198.51.100.1", out var scope));
        Assert.Equal(24, scope);
    }

    internal static Network Net(string text) => Network.TryParse(text, out var network, out var error) ? network : throw new ArgumentException(error);

    internal static Dictionary<string, object> City(string country, string subdivision, double latitude, double longitude) => new()
    {
        ["country"] = new Dictionary<string, object> { ["iso_code"] = country, ["names"] = new Dictionary<string, object> { ["en"] = country } },
        ["subdivisions"] = new object[] { new Dictionary<string, object> { ["iso_code"] = subdivision } },
        ["location"] = new Dictionary<string, object> { ["latitude"] = latitude, ["longitude"] = longitude, ["accuracy_radius"] = (ushort)20 },
    };

    private static LocationTable Table(byte[] file) => LocationTable.Build([], [MaxMindFile.Open(file).Locations().Compile()]);

    private static string Find(LocationTable table, string address, out byte scope)
    {
        Assert.True(Network.TryParseAddress(address, out var number, out var isIPv6));
        return table.Find(new ClientSubnet(number, isIPv6 ? (byte)128 : (byte)32, isIPv6, true), out scope)?.ToString() ?? "";
    }
}
