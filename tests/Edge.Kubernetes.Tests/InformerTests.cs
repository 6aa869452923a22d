using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Kubernetes.Tests;

/// <summary>The informer against the real embedded API, through a proxy that cuts connections.</summary>
[Collection("api")]
[Trait("Category", "Kubernetes")]
public sealed class InformerTests(ApiFixture api)
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    private readonly Channel<string> _changes = Channel.CreateUnbounded<string>();

    [Fact]
    public async Task The_first_list_then_every_change_is_delivered_in_order()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none);
        await using var informer = Make(client, space);
        informer.Start(DeliverAsync);
        await informer.Synced.WaitAsync(Wait.Net);
        Assert.Equal("Added a 1", await NextAsync());
        await PatchAsync(client, space, "a", "2");
        Assert.Equal("Updated a 2 was 1", await NextAsync());
        Assert.Equal("2", informer.Get(space, "a").Text("data", "key"));
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("b", "1"), s_none);
        Assert.Equal("Added b 1", await NextAsync());
        Assert.Equal(2, informer.List().Count);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "a", null, s_none);
        Assert.Equal("Deleted a 2 was 2", await NextAsync());
        Assert.Null(informer.Get(space, "a"));
    }

    [Fact]
    public async Task An_object_that_stops_to_match_the_selector_counts_as_deleted()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await using var informer = Make(client, space, new ListOptions("color=red"));
        informer.Start(DeliverAsync);
        var red = ApiFixture.ConfigMap("a", "1");
        red["metadata"]!["labels"] = new JsonObject { ["color"] = "red" };
        await client.CreateAsync(ResourceKind.ConfigMap, space, red, s_none);
        Assert.Equal("Added a 1", await NextAsync());
        await client.PatchAsync(ResourceKind.ConfigMap, space, "a", PatchKind.Merge, """{"metadata":{"labels":{"color":"blue"}}}"""u8.ToArray(), null, s_none);
        Assert.StartsWith("Deleted a", await NextAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_only_identities_are_cached_the_handler_still_gets_the_whole_and_of_what_went_unseen_its_identity()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await using var proxy = new CuttingProxy(client.Options.Server.Port);
        using var through = new KubeClient(client.Options with { Server = new Uri($"https://127.0.0.1:{proxy.Port}") }, TimeProvider.System);
        var made = await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none);
        var changes = Channel.CreateUnbounded<ObjectChange>();
        await using var informer = new Informer(through, ResourceKind.ConfigMap, space, new ListOptions(), TimeProvider.System, new Random(1), NullLogger.Instance)
        {
            CachesIdentities = true, LeavesOutManagedFields = true,
        };
        informer.Start((change, token) => changes.Writer.WriteAsync(change, token));
        await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net);
        var patched = await client.ApplyAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "2"), "tests", isForced: true, isDryRun: false, s_none);
        Assert.NotNull(patched.At("metadata", "managedFields"));
        var updated = await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net);
        Assert.Equal((ChangeType.Updated, "2", null, null), (updated.Type, updated.Object.Text("data", "key"), updated.Object.At("metadata", "managedFields"), updated.Old));
        Assert.Equal(patched.ResourceVersion(), updated.Text.ResourceVersion);
        var cached = informer.Get(space, "a")!;
        Assert.Equal(("ConfigMap", "v1", "a", space, made.Uid(), patched.ResourceVersion()), (cached.Kind(), cached.ApiVersion(), cached.Name(), cached.Namespace(), cached.Uid(), cached.ResourceVersion()));
        Assert.Null(cached["data"]);

        proxy.Cut(refuse: true);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "a", null, s_none);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("b", "1"), s_none);
        proxy.Accept();
        var left = new[] { await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net), await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net) };
        var gone = Assert.Single(left, change => change.Type == ChangeType.Deleted);
        Assert.Equal(("a", made.Uid(), "ConfigMap"), (gone.Text.Name, gone.Text.Uid, gone.Object.Kind()));
        Assert.Equal("b", informer.List().Single().Name());
    }

    [Fact]
    public async Task Changes_while_the_connection_is_cut_are_delivered_after_it_is_back()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await using var proxy = new CuttingProxy(client.Options.Server.Port);
        using var through = new KubeClient(client.Options with { Server = new Uri($"https://127.0.0.1:{proxy.Port}") }, TimeProvider.System);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("stays", "1"), s_none);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("goes", "1"), s_none);
        await using var informer = Make(through, space);
        informer.Start(DeliverAsync);
        Assert.Equal(["Added goes 1", "Added stays 1"], new[] { await NextAsync(), await NextAsync() }.Order());

        proxy.Cut(refuse: true);
        await PatchAsync(client, space, "stays", "2");
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "goes", null, s_none);
        proxy.Accept();
        Assert.Equal("Updated stays 2 was 1", await NextAsync());
        Assert.Equal("Deleted goes 1 was 1", await NextAsync());
    }

    [Fact]
    public async Task What_went_while_nobody_watched_is_deleted_as_of_the_list_that_shows_it()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await using var proxy = new CuttingProxy(client.Options.Server.Port);
        using var through = new KubeClient(client.Options with { Server = new Uri($"https://127.0.0.1:{proxy.Port}") }, TimeProvider.System);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("goes", "1"), s_none);
        var changes = Channel.CreateUnbounded<ObjectChange>();
        // The version of a watch that has ended is forgotten, so that it starts again with a list.
        await using var informer = Make(through, space);
        informer.Start((change, _) => changes.Writer.TryWrite(change) ? ValueTask.CompletedTask : throw new InvalidOperationException("the channel is closed"));
        var first = await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net);
        proxy.Cut(refuse: true);
        await PatchAsync(client, space, "goes", "2");
        var newest = await client.GetAsync(ResourceKind.ConfigMap, space, "goes", s_none);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "goes", null, s_none);
        proxy.Accept();
        ObjectChange last;
        do
        {
            last = await changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Net);
        }
        while (last.Type != ChangeType.Deleted);
        Assert.True(last.Object.Version() > newest.Version(), $"deleted at {last.Object.Version()}, its last state is {newest.Version()}");
        Assert.Equal(first.Object.Uid(), last.Object.Uid());
    }

    [Fact]
    public async Task After_410_the_difference_is_delivered_and_nothing_else()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await using var proxy = new CuttingProxy(client.Options.Server.Port);
        using var through = new KubeClient(client.Options with { Server = new Uri($"https://127.0.0.1:{proxy.Port}") }, TimeProvider.System);
        foreach (var name in new[] { "same", "changes", "goes", "anew" })
            await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap(name, "1"), s_none);
        await using var informer = Make(through, space);
        informer.Start(DeliverAsync);
        for (var i = 0; i < 4; i++)
            await NextAsync();

        proxy.Cut(refuse: true);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "goes", null, s_none);
        await client.DeleteAsync(ResourceKind.ConfigMap, space, "anew", null, s_none);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("anew", "2"), s_none);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("comes", "1"), s_none);
        for (var i = 0; i < ApiFixture.History * 3; i++)
            await PatchAsync(client, space, "changes", $"{i}");
        proxy.Accept();

        var seen = new List<string>();
        for (var i = 0; i < 5; i++)
            seen.Add(await NextAsync());
        Assert.Equal(["Added anew 2", "Added comes 1", "Deleted anew 1 was 1", "Deleted goes 1 was 1", "Updated changes 149 was 1"], seen.Order());
        Assert.True(seen.IndexOf("Deleted anew 1 was 1") < seen.IndexOf("Added anew 2"));
        await PatchAsync(client, space, "same", "end");
        Assert.Equal("Updated same end was 1", await NextAsync());
    }

    [Fact]
    public async Task A_handler_that_throws_does_not_stop_what_follows()
    {
        using var client = api.Client();
        var space = await ApiFixture.NamespaceAsync(client);
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("a", "1"), s_none);
        await using var informer = Make(client, space);
        informer.Start((change, token) => change.Object.Name() == "a" ? throw new InvalidOperationException("the test wants it") : DeliverAsync(change, token));
        await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("b", "1"), s_none);
        Assert.Equal("Added b 1", await NextAsync());
    }

    [Fact]
    public async Task Disposing_while_nobody_answers_ends_the_informer_and_cancels_synced()
    {
        using var client = new KubeClient(new KubeClientOptions { Server = new Uri("https://127.0.0.1:1") }, TimeProvider.System);
        var informer = Make(client, "x");
        informer.Start(DeliverAsync);
        await informer.DisposeAsync().AsTask().WaitAsync(Wait.Net);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => informer.Synced);
    }

    private static Informer Make(IKubeClient client, string space, ListOptions? options = null)
        => new(client, ResourceKind.ConfigMap, space, options ?? new ListOptions(), TimeProvider.System, new Random(1), NullLogger.Instance);

    private ValueTask DeliverAsync(ObjectChange change, CancellationToken token)
        => _changes.Writer.WriteAsync($"{change.Type} {change.Object.Name()} {change.Object.Text("data", "key")}{(change.Old is null ? "" : $" was {change.Old.Text("data", "key")}")}", token);

    private Task<string> NextAsync() => _changes.Reader.NextAsync("the next change");

    private static Task PatchAsync(KubeClient client, string space, string name, string value)
        => client.PatchAsync(ResourceKind.ConfigMap, space, name, PatchKind.Merge, Encoding.UTF8.GetBytes($$$"""{"data":{"key":"{{{value}}}"}}"""), null, s_none);

    /// <summary>Passes TCP on to a port until it is told to cut.</summary>
    private sealed class CuttingProxy : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<Socket> _open = [];
        private readonly List<Task> _pumps = [];
        private readonly Lock _gate = new();
        private readonly int _target;
        private readonly Task _accepting;
        private bool _refuse;

        public CuttingProxy(int target)
        {
            _target = target;
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _accepting = AcceptAsync();
        }

        public int Port { get; }

        public void Accept()
        {
            lock (_gate)
            {
                _refuse = false;
            }
        }

        public void Cut(bool refuse)
        {
            lock (_gate)
            {
                _refuse = refuse;
                foreach (var socket in _open)
                    socket.Close(0);
                _open.Clear();
            }
        }

        public async ValueTask DisposeAsync()
        {
            Cut(refuse: true);
            _listener.Stop();
            await _accepting;
            await Task.WhenAll(_pumps);
            _listener.Dispose();
        }

        private async Task AcceptAsync()
        {
            while (true)
            {
                try
                {
                    var near = await _listener.AcceptSocketAsync();
                    var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                    await far.ConnectAsync(IPAddress.Loopback, _target);
                    lock (_gate)
                    {
                        if (_refuse)
                        {
                            near.Close(0);
                            far.Close(0);
                            continue;
                        }

                        _open.AddRange([near, far]);
                        _pumps.AddRange([PumpAsync(near, far), PumpAsync(far, near)]);
                    }
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    return;
                }
            }
        }

        private static async Task PumpAsync(Socket from, Socket to)
        {
            var buffer = new byte[16 * 1024];
            try
            {
                while (await from.ReceiveAsync(buffer) is > 0 and var count)
                    await to.SendAsync(buffer.AsMemory(0, count));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Cut.
            }

            from.Close(0);
            to.Close(0);
        }
    }
}
