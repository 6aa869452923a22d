using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Edge.ApiServer;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;

namespace Edge.Cloud.Tests;

/// <summary>What a user or an edge gets wrong is told where they look for it, and the rest goes on.</summary>
[Trait("Category", "Devices")]
public sealed class BadInputTests : IAsyncLifetime
{
    private readonly TempDirectory _data = new();
    private WholeCloud _cloud = null!;

    public async Task InitializeAsync() => _cloud = await WholeCloud.StartAsync(_data.Path);

    public async Task DisposeAsync()
    {
        await _cloud.DisposeAsync();
        _data.Dispose();
    }

    [Fact]
    public async Task Device_without_its_model_becomes_an_event_and_goes_down_once_the_model_is_there()
    {
        await using var edge = await JoinAsync();
        await CreateDeviceAsync("30");
        var told = await _cloud.EventAsync("thermo", "DeviceModelNotFound");
        Assert.Equal(("Warning", "default", "devices.kubeedge.io/v1beta1"), (told.Text("type"), told.Namespace(), told.Text("involvedObject", "apiVersion")));
        Assert.Contains("DeviceModel 'm' does not exist in namespace 'default'", told.Text("message"), StringComparison.Ordinal);
        await edge.FlushAsync();
        Assert.DoesNotContain(edge.Received, message => message.Resource == "default/device/thermo");
        await CreateModelAsync("ReadWrite");
        await edge.UntilAsync(Operations.Insert, "default/device/thermo");
    }

    [Theory]
    [InlineData("101", "DesiredValueOutOfRange", "above the maximum 100")]
    [InlineData("-1", "DesiredValueOutOfRange", "below the minimum 0")]
    [InlineData("warm", "DesiredValueWrongType", "not a whole number")]
    public async Task Desired_value_that_breaks_the_model_becomes_an_event_and_the_edge_keeps_the_old_one(string desired, string reason, string says)
    {
        await using var edge = await JoinAsync();
        await CreateModelAsync("ReadWrite");
        await CreateDeviceAsync("30");
        Assert.Equal("30", Desired(await edge.UntilAsync(Operations.Insert, "default/device/thermo")));
        await DesireAsync(desired);
        var told = await _cloud.EventAsync("thermo", reason);
        Assert.Contains("property 'temperature'", told.Text("message"), StringComparison.Ordinal);
        Assert.Contains(says, told.Text("message"), StringComparison.Ordinal);
        Assert.Equal("30", Desired(await edge.UntilAsync(Operations.Update, "default/device/thermo")));
        await DesireAsync("31");
        await edge.UntilAsync(message => message.Resource == "default/device/thermo" && Desired(message) == "31");
    }

    [Fact]
    public async Task Desired_value_of_a_read_only_property_becomes_an_event_and_is_not_sent()
    {
        await using var edge = await JoinAsync();
        await CreateModelAsync("ReadOnly");
        await CreateDeviceAsync("30");
        Assert.Contains("is ReadOnly in its DeviceModel", (await _cloud.EventAsync("thermo", "DesiredValueReadOnly")).Text("message"), StringComparison.Ordinal);
        Assert.Equal("", Desired(await edge.UntilAsync(Operations.Insert, "default/device/thermo")));
    }

    [Fact]
    public async Task Wrong_token_is_refused_with_401_and_the_reason()
    {
        var (code, text) = await EnrolAsync("abc.def.ghi");
        Assert.Equal(HttpStatusCode.Unauthorized, code);
        Assert.Contains("edgectl gettoken", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Expired_token_is_refused_with_401_that_says_so()
    {
        var ca = await _cloud.Kube.GetAsync(ResourceKind.Secret, "kubeedge", "casecret", CancellationToken.None);
        var token = JoinToken.Create(
            Convert.FromBase64String(ca.Text("data", "cadata")), Convert.FromBase64String(ca.Text("data", "cakeydata")), DateTimeOffset.UtcNow.AddMinutes(-1));
        var (code, text) = await EnrolAsync(token.Split('.', 2)[1]);
        Assert.Equal(HttpStatusCode.Unauthorized, code);
        Assert.Contains("expired", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pod_without_containers_is_refused_with_422_and_the_field()
    {
        var error = await RefusedAsync(ResourceKind.Pod, """{"metadata":{"name":"web"},"spec":{"containers":[]}}""");
        Assert.Contains("spec.containers", Fields(error));
    }

    [Fact]
    public async Task Container_without_a_name_is_refused_with_422_and_the_field()
    {
        var error = await RefusedAsync(ResourceKind.Pod, """{"metadata":{"name":"web"},"spec":{"containers":[{"name":"a","image":"b"},{"image":"b"}]}}""");
        Assert.Contains("spec.containers[1].name", Fields(error));
    }

    [Fact]
    public async Task Model_of_an_unknown_type_is_refused_with_422_and_the_field()
    {
        var error = await RefusedAsync(
            ResourceKind.DeviceModel, """{"metadata":{"name":"m"},"spec":{"properties":[{"name":"t","type":"INT","accessMode":"ReadOnly"},{"name":"u","type":"int32","accessMode":"ReadOnly"}]}}""");
        Assert.Contains("spec.properties[1].type", Fields(error));
        Assert.Contains("int32", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Model_whose_minimum_exceeds_its_maximum_is_refused_with_422_and_the_field()
    {
        var error = await RefusedAsync(
            ResourceKind.DeviceModel, """{"metadata":{"name":"m"},"spec":{"properties":[{"name":"t","type":"INT","accessMode":"ReadOnly","minimum":"5","maximum":"4"}]}}""");
        Assert.Contains("spec.properties[0]", Fields(error));
        Assert.Contains("minimum must not exceed maximum", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Device_with_a_number_for_its_node_is_refused_with_422_and_the_field()
        => Assert.Contains("spec.nodeName", Fields(await RefusedAsync(ResourceKind.Device, """{"metadata":{"name":"d"},"spec":{"nodeName":5}}""")));

    [Theory]
    [InlineData("api", "modules.apiServer.port")]
    [InlineData("websocket", "modules.cloudHub.websocket.port")]
    [InlineData("https", "modules.cloudHub.https.port")]
    [InlineData("monitor", "commonConfig.monitorServer.bindAddress")]
    public async Task Port_in_use_is_an_error_that_names_the_port_and_the_setting(string listener, string key)
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        var port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        var on = new ListenOn(true, "127.0.0.1", port, key);
        var options = listener switch
        {
            "api" => WholeCloud.Options with { ApiServer = on },
            "websocket" => WholeCloud.Options with { WebSocket = on },
            "https" => WholeCloud.Options with { Https = on },
            _ => WholeCloud.Options with { Monitor = on },
        };
        using var data = new TempDirectory();
        var error = await Assert.ThrowsAnyAsync<Exception>(() => WholeCloud.StartAsync(data.Path, options));
        Assert.True(error is CloudCoreException or ApiServerException, $"{error}");
        Assert.Contains($"{port}", error.Message, StringComparison.Ordinal);
        Assert.Contains("in use", error.Message, StringComparison.Ordinal);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        // What had started before is closed again: the same data serves at once on another port.
        await using var second = await WholeCloud.StartAsync(data.Path);
    }

    private async Task<FakeEdge> JoinAsync()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var edge = await FakeEdge.ConnectAsync(_cloud.Ports.WebSocket, "edge-1", certificate);
        await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
        return edge;
    }

    private Task CreateModelAsync(string accessMode) => _cloud.CreateAsync(
        ResourceKind.DeviceModel,
        $$$"""{"metadata":{"name":"m"},"spec":{"properties":[{"name":"temperature","type":"INT","accessMode":"{{{accessMode}}}","minimum":"0","maximum":"100"}]}}""");

    private Task CreateDeviceAsync(string desired) => _cloud.CreateAsync(
        ResourceKind.Device,
        $$$$"""{"metadata":{"name":"thermo"},"spec":{"nodeName":"edge-1","deviceModelRef":{"name":"m"},"properties":[{"name":"temperature","desired":{"value":"{{{{desired}}}}"}}]}}""");

    private Task DesireAsync(string value)
        => _cloud.MergeAsync(ResourceKind.Device, "thermo", $$$$"""{"spec":{"properties":[{"name":"temperature","desired":{"value":"{{{{value}}}}"}}]}}""");

    private static string Desired(Message device) => FakeEdge.Content(device).Items("spec", "properties").Single().Text("desired", "value");

    private async Task<(HttpStatusCode Code, string Text)> EnrolAsync(string token)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Ports.Https, "edge-1", FakeEdge.Request("edge-1", key), token);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    private async Task<KubeException> RefusedAsync(ResourceKind kind, string json)
    {
        var error = await Assert.ThrowsAsync<KubeException>(() => _cloud.CreateAsync(kind, json));
        Assert.Equal((422, "Invalid"), (error.Code, error.Reason));
        return error;
    }

    private static IEnumerable<string> Fields(KubeException error) => ((JsonNode?)error.Status).Items("details", "causes").Select(cause => cause.Text("field"));
}
