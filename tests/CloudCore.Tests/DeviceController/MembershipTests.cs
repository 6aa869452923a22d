using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

/// <summary>A stock edge learns of every device by <c>membership</c>, which it does not answer (kubeedge-wire §4.2), before it gets and acknowledges the device.</summary>
[Trait("Category", "Devices")]
public sealed class MembershipTests : IAsyncLifetime
{
    private const int UnreadMax = 100;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan s_answerEvery = TimeSpan.FromSeconds(1) / 30;

    private readonly HashSet<string> _known = [];
    private readonly HashSet<string> _acked = [];
    private readonly List<string> _unknown = []; // acknowledged, and the twin module did not know them
    private readonly List<string> _dropped = [];
    private Support.Cloud _cloud = null!;
    private FakeEdge _edge = null!;

    public async Task InitializeAsync()
    {
        _cloud = await Support.Cloud.StartAsync();
        _edge = await _cloud.JoinAsync("edge-1");
        _edge.Acks = false;
    }

    public async Task DisposeAsync()
    {
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public async Task Stock_edge_that_keeps_100_unread_and_answers_30_a_second_knows_each_of_500_new_devices_before_it_acknowledges_it()
    {
        await _cloud.CreateAsync(ResourceKind.DeviceModel, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "m" } });
        var unread = Channel.CreateBounded(
            new BoundedChannelOptions(UnreadMax) { FullMode = BoundedChannelFullMode.DropOldest }, (Message oldest) => _dropped.Add($"{oldest.Operation} {oldest.Resource}"));
        using var limit = new CancellationTokenSource(s_patience);
        var reading = ReadAsync(unread.Writer);
        var working = WorkAsync(unread.Reader, 500, limit.Token);
        for (var i = 0; i < 500; i++)
            await _cloud.CreateAsync(ResourceKind.Device, DeviceOf($"d{i}"));
        try
        {
            await working;
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"{_acked.Count} of 500 devices were acknowledged in {s_patience.TotalSeconds} s; {_dropped.Count} messages were dropped unread");
        }

        await _edge.DisposeAsync();
        await reading;
        Assert.Empty(_dropped);
        Assert.Empty(_unknown);
    }

    [Fact]
    public async Task Link_that_breaks_before_the_ack_brings_membership_again_with_the_device_and_after_it_alone()
    {
        await _cloud.CreateAsync(ResourceKind.DeviceModel, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "m" } });
        await _cloud.CreateAsync(ResourceKind.Device, DeviceOf("thermo"));
        await _edge.UntilAsync(Operations.Insert, "default/device/thermo");
        await _edge.DisposeAsync();

        await using (var again = await _cloud.JoinAsync("edge-1"))
        {
            await again.UntilAsync(Operations.Insert, "default/device/thermo");
            Assert.Equal(["default/thermo"], Assert.Single(AddedIn(again)));
            Assert.True(again.Received.FindIndex(message => message.Resource == "membership") < again.Received.FindIndex(message => message.Resource == "default/device/thermo"));
            await again.FlushAsync(); // the acks have been read
        }

        await using var back = await _cloud.JoinAsync("edge-1");
        await back.UntilAsync(message => message.Resource == "membership");
        await back.FlushAsync();
        Assert.Equal(["default/thermo"], Assert.Single(AddedIn(back)));
        Assert.DoesNotContain(back.Received, message => message.Resource == "default/device/thermo");
    }

    [Fact]
    public async Task Node_without_devices_and_an_edge_peer_get_no_membership()
    {
        await _edge.FlushAsync();
        Assert.Empty(AddedIn(_edge));
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var peer = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        await _cloud.CreateAsync(ResourceKind.DeviceModel, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "m" } });
        await _cloud.CreateAsync(ResourceKind.Device, DeviceOf("thermo"));
        await peer.UntilAsync(message => message.Resource == "default/device/thermo");
        Assert.Empty(AddedIn(peer));
    }

    private static List<List<string>> AddedIn(FakeEdge edge)
        => [.. edge.Received.Where(message => message.Resource == "membership").Select(message => FakeEdge.Content(message).Items("added_devices").Select(device => device.Text("id")).ToList())];

    private static JsonObject DeviceOf(string name) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name },
        ["spec"] = new JsonObject { ["nodeName"] = "edge-1", ["deviceModelRef"] = new JsonObject { ["name"] = "m" } },
    };

    // What comes over the line waits until it is looked at; when there is too much of it, the oldest goes.
    private async Task ReadAsync(ChannelWriter<Message> unread)
    {
        try
        {
            while (await _edge.ReceiveAsync() is { } message)
                Assert.True(unread.TryWrite(message));
        }
        catch (Edge.Transport.LinkException)
        {
            // The test is over.
        }
    }

    // Looks at one after the other; answers no faster than the line up allows.
    private async Task WorkAsync(ChannelReader<Message> unread, int devices, CancellationToken cancellationToken)
    {
        using var pace = new PeriodicTimer(s_answerEvery, TimeProvider.System);
        while (_acked.Count < devices)
        {
            var message = await unread.ReadAsync(cancellationToken);
            if (message is { Resource: "membership", Group: Groups.Twin })
            {
                var content = FakeEdge.Content(message);
                _known.UnionWith(content.Items("added_devices").Select(device => device.Text("id")));
                _known.ExceptWith(content.Items("removed_devices").Select(device => device.Text("id")));
                continue;
            }

            if (message.ParentId.Length > 0 || message.Group != Groups.Resource)
                continue;
            if (ResourcePath.TryParse(message.Resource, out var path) && path.Type == ResourceTypes.Device && _acked.Add(path.Name) && !_known.Contains($"{path.Namespace}/{path.Name}"))
                _unknown.Add(path.Name);
            await pace.WaitForNextTickAsync(cancellationToken);
            await _edge.AckAsync(message);
        }
    }
}
