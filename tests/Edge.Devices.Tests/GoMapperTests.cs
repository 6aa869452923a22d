using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Devices.Tests;

/// <summary>DMI with grpc-go on the other side, which sends the socket's path as <c>:authority</c>: GoMapper/main.go, on Debian's packages.</summary>
[Trait("Category", "Devices")]
public sealed class GoMapperTests(GoMapper go) : IClassFixture<GoMapper>
{
    private const string Protocol = "go";

    [SkippableFact]
    public async Task A_mapper_on_grpc_go_registers_is_called_and_reports()
    {
        go.Require();
        using var directory = new TempDirectory();
        await using var house = new DeviceHouse();
        house.Meta.Put("devicemodel", Model("memory"));
        house.Meta.Put("device", Device("first", "21"));
        house.StartEdgeCore();
        var given = house.Uplink.NextTwinAsync("21 of the first device", "setpoint", twin => (string?)twin["actual"]?["value"] == "21");
        var online = house.Uplink.NextStateAsync("online");
        await using var mapper = go.Start("serve", house.DmiSocket, directory.File("go.sock"), Protocol);
        await mapper.LineAsync("registered, 1 models, 1 devices");
        await mapper.LineAsync("given default/first [setpoint=21]");
        await mapper.LineAsync("reported default/first 1 <nil>");
        Assert.EndsWith("device/default/first/twin/edge_updated", (await given).Resource, StringComparison.Ordinal);
        await online;

        var added = house.Uplink.NextTwinAsync("7 of the second device", "setpoint", twin => (string?)twin["actual"]?["value"] == "7");
        house.Meta.Put("devicemodel", Model("memory-2"));
        house.Meta.Put("device", Device("second", "7", "memory-2"));
        await mapper.LineAsync("CreateDeviceModel default/memory-2 1");
        await mapper.LineAsync("RegisterDevice default/second [setpoint=7]");
        Assert.EndsWith("device/default/second/twin/edge_updated", (await added).Resource, StringComparison.Ordinal);

        var changed = house.Uplink.NextTwinAsync(
            "8.5 of the second device", "setpoint", twin => (string?)twin["expected"]?["value"] == "8.5" && (string?)twin["actual"]?["value"] == "8.5");
        house.Meta.Put("device", Device("second", "8.5", "memory-2"));
        await mapper.LineAsync("UpdateDevice default/second [setpoint=8.5]");
        await changed;

        house.Meta.Remove("device", "first");
        await mapper.LineAsync("RemoveDevice default/first");
    }

    [SkippableFact]
    public async Task Nested_config_and_64_bit_numbers_reach_grpc_go_as_they_are()
    {
        go.Require();
        using var directory = new TempDirectory();
        await using var house = new DeviceHouse();
        var device = Device("first", "21");
        device["spec"]!["protocol"]!["configData"] = JsonNode.Parse("""
            {"exact":0.1234567890123456,"single":0.1,"whole":9007199254740993,"flag":true,"text":"ß","nested":{"list":[1,2.5,"x",null],"deep":{"pi":3.141592653589793}},"list":[true]}
            """);
        house.Meta.Put("devicemodel", Model("memory"));
        house.Meta.Put("device", device);
        house.StartEdgeCore();
        await using var mapper = go.Start("serve", house.DmiSocket, directory.File("go.sock"), Protocol);
        await mapper.LineAsync(
            "config default/first exact=DoubleValue:0.1234567890123456 flag=BoolValue:true list=ListValue:[true] nested=Struct:{\"deep\":{\"pi\":3.141592653589793},\"list\":[1,2.5,\"x\",null]} "
            + "single=FloatValue:0.1 text=StringValue:\"ß\" whole=Int64Value:\"9007199254740993\"");
    }

    [SkippableFact]
    public async Task A_mapper_of_ours_is_called_by_grpc_go()
    {
        go.Require();
        await using var house = new DeviceHouse();
        house.StartMapper(driver: new SimpleDriver("memory", _ => new MemoryDevice()));
        await Wait.UntilAsync("the mapper's socket", _ => Task.FromResult(File.Exists(house.MapperSocket)), TimeSpan.FromSeconds(60), TimeProvider.System, default);
        await using var client = go.Start("call", house.MapperSocket);
        foreach (var line in (string[])["created default/memory", "registered default/one", "the device has 2", "removed"])
            await client.LineAsync(line);
    }

    private static JsonObject Model(string name) => (JsonObject)JsonNode.Parse($$"""
        {"kind":"DeviceModel","metadata":{"name":"{{name}}","namespace":"default"},"spec":{"protocol":"{{Protocol}}","properties":[
          {"name":"setpoint","type":"FLOAT","accessMode":"ReadWrite"}]} }
        """)!;

    private static JsonObject Device(string name, string setpoint, string model = "memory") => (JsonObject)JsonNode.Parse($$"""
        {"kind":"Device","metadata":{"name":"{{name}}","namespace":"default"},"spec":{"deviceModelRef":{"name":"{{model}}"},"nodeName":"edge-1",
         "protocol":{"protocolName":"{{Protocol}}","configData":{"port":1,"nested":{"list":[1,2.5,"x"]} } },
         "properties":[{"name":"setpoint","desired":{"value":"{{setpoint}}"},"reportToCloud":true,"visitors":{"protocolName":"{{Protocol}}","configData":{"at":0} } }]} }
        """)!;

    private sealed class MemoryDevice : SimpleDevice
    {
        private string _value = "0";

        public override Task ConnectAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override Task<string> ReadAsync(PropertyInfo property, CancellationToken cancellationToken) => Task.FromResult(_value);

        public override Task WriteAsync(PropertyInfo property, string value, CancellationToken cancellationToken)
        {
            _value = value;
            return Task.CompletedTask;
        }
    }
}

/// <summary>GoMapper/main.go as an executable, built once for all tests that take it.</summary>
public sealed class GoMapper : IAsyncLifetime
{
    private const string GoCode = "/usr/share/gocode";
    private readonly TempDirectory _directory = new();
    private string? _missing;

    private string Executable => _directory.File("go-mapper");

    public async Task InitializeAsync()
    {
        _missing = Tool.OnPath("go") is null ? "go (Debian: golang-go)"
            : Tool.OnPath("protoc") is null ? "protoc (Debian: protobuf-compiler)"
            : Tool.OnPath("protoc-gen-go") is null ? "protoc-gen-go (Debian: golang-goprotobuf-dev)"
            : !Directory.Exists($"{GoCode}/src/google.golang.org/grpc") ? "grpc-go (Debian: golang-google-grpc-dev)" : null;
        if (_missing is not null)
            return;
        var root = FrameworkTests.Root();
        var (package, main) = (_directory.File("src/dmi"), _directory.File("src/go-mapper"));
        Directory.CreateDirectory(package);
        Directory.CreateDirectory(main);
        File.Copy(Path.Combine(root, "tests/Edge.Devices.Tests/GoMapper/main.go"), Path.Combine(main, "main.go"));

        // The one proto file of this tree; the Go package of "any" is that of Debian's version.
        await RunAsync(
            "protoc", "-I", Path.Combine(root, "protocol/Edge.Protocol.Dmi"), "-I", "/usr/include",
            $"--go_out=plugins=grpc,import_path=dmi,Mgoogle/protobuf/any.proto=github.com/golang/protobuf/ptypes/any:{package}", "dmi.proto");
        await RunAsync("go", "build", "-o", Executable, "go-mapper");
    }

    public Task DisposeAsync()
    {
        _directory.Dispose();
        return Task.CompletedTask;
    }

    public void Require() => Skip.If(_missing is not null, _missing);

    internal GoProcess Start(params string[] arguments) => new(Executable, arguments);

    private async Task RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = _directory.Path };
        start.Environment["GO111MODULE"] = "off";
        start.Environment["GOFLAGS"] = "";
        start.Environment["GOPATH"] = $"{_directory.Path}:{GoCode}";
        using var process = Process.Start(start)!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {await output}{await errors}");
    }
}

/// <summary>A running go-mapper and what it said.</summary>
internal sealed class GoProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly ConcurrentQueue<string> _lines = new();

    public GoProcess(string executable, string[] arguments)
    {
        _process = Process.Start(new ProcessStartInfo(executable, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        _process.OutputDataReceived += (_, line) => Add(line.Data);
        _process.ErrorDataReceived += (_, line) => Add(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Waits until it has said this line.</summary>
    public Task LineAsync(string line) => Wait.UntilAsync($"'{line}'", async _ =>
    {
        if (_lines.Contains(line))
            return true;
        if (!_process.HasExited)
            return false;
        await _process.WaitForExitAsync(); // its last lines may still be under way
        return _lines.Contains(line) ? true : throw new InvalidOperationException(Said(line));
    }, TimeSpan.FromSeconds(60), TimeProvider.System, default);

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private string Said(string line) => $"go-mapper ended without '{line}'; it said: {string.Join(" | ", _lines)}";

    private void Add(string? line)
    {
        if (line is not null)
            _lines.Enqueue(line);
    }
}
