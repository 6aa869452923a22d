using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Cloud.SyncController;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class NamedSecretsTests : IAsyncDisposable
{
    private static readonly TimeSpan s_every = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly FakeKube _kube = new();
    private readonly BlockingCollection<string> _told = [];
    private readonly NamedSecrets _secrets;
    private volatile bool _isNamed = true;

    public NamedSecretsTests()
        => _secrets = new NamedSecrets(
            _kube,
            change => _told.Add($"{change.Type} {change.Text.Name} {change.Text.Json.Text("data", "key")}".TrimEnd()),
            (_, name) =>
            {
                _told.Add($"drop {name}");
                return !_isNamed;
            },
            s_every, _time, new Random(1), NullLogger.Instance);

    public async ValueTask DisposeAsync()
    {
        await _secrets.DisposeAsync();
        _told.Dispose();
    }

    [Fact]
    public async Task A_Secret_is_read_when_it_is_named_and_again_each_interval_and_no_other_is_read()
    {
        await PutAsync("cred", "1");
        await PutAsync("other", "1");
        Assert.True(_secrets.SettledAsync().IsCompletedSuccessfully); // nothing is named
        _secrets.Use("default", "cred");
        Assert.Equal("Added cred 1", Told());
        await _secrets.SettledAsync().WaitAsync(s_patience);
        Assert.True(_secrets.IsRead("default", "cred"));

        await PutAsync("cred", "2");
        _time.Advance(s_every * 0.7);
        Assert.Empty(_told);
        _time.Advance(s_every * 0.6);
        Assert.Equal("Updated cred 2", Told());

        await _kube.DeleteAsync(ResourceKind.Secret, "default", "cred", null, CancellationToken.None);
        await AgainAsync();
        Assert.Equal("Deleted cred", Told());
        await PutAsync("cred", "3");
        await AgainAsync();
        Assert.Equal("Added cred 3", Told());
    }

    [Fact]
    public async Task One_made_again_under_its_name_is_a_deletion_and_another_Secret()
    {
        await PutAsync("cred", "1");
        _secrets.Use("default", "cred");
        Assert.Equal("Added cred 1", Told());
        await _secrets.SettledAsync().WaitAsync(s_patience);
        await _kube.DeleteAsync(ResourceKind.Secret, "default", "cred", null, CancellationToken.None);
        await PutAsync("cred", "2");
        await AgainAsync();
        Assert.Equal(["Deleted cred", "Added cred 2"], [Told(), Told()]);
    }

    [Fact]
    public async Task What_no_pod_names_is_dropped_and_what_one_names_again_is_told_again()
    {
        await PutAsync("cred", "1");
        _secrets.Use("default", "cred");
        Assert.Equal("Added cred 1", Told());
        await _secrets.SettledAsync().WaitAsync(s_patience);

        // Named again before it could be dropped: what is known holds, and nobody is told of an end.
        _secrets.Release("default", "cred");
        Assert.Equal("drop cred", Told());
        _isNamed = false;
        await PutAsync("cred", "2");
        _secrets.Use("default", "cred");
        Assert.EndsWith("cred 2", Told(), StringComparison.Ordinal);

        _secrets.Release("default", "cred");
        Assert.Equal("drop cred", Told());
        _secrets.Use("default", "cred");
        Assert.Equal("Added cred 2", Told());
    }

    [Fact]
    public async Task One_that_is_released_as_its_reader_leaves_is_dropped_once()
    {
        const int Rounds = 20_000;
        var drops = 0;
        await using (var secrets = new NamedSecrets(_kube, _ => { }, (_, _) => Interlocked.Increment(ref drops) > 0, s_every, _time, new Random(1), NullLogger.Instance))
        {
            for (var i = 1; i <= Rounds; i++)
            {
                secrets.Use("default", $"cred-{i}");
                var settled = secrets.SettledAsync();
                Assert.True(SpinWait.SpinUntil(() => settled.IsCompleted, s_patience), "it was not read");
                secrets.Release("default", $"cred-{i}");
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref drops) >= i, s_patience), "it was not dropped");
            }
        }

        Assert.Equal(Rounds, drops);
    }

    [Theory]
    [InlineData(503, false)]
    [InlineData(403, true)]
    public async Task While_the_API_does_not_say_what_it_holds_nothing_is_known_and_nobody_waits_for_what_is_refused(int code, bool isSettled)
    {
        await PutAsync("cred", "1");
        _kube.OnTryGet = (_, _) => throw new KubeException(code, "No", "no");
        _secrets.Use("default", "cred");
        if (isSettled)
            await _secrets.SettledAsync().WaitAsync(s_patience);
        else
            Assert.False(_secrets.SettledAsync().IsCompleted);
        Assert.False(_secrets.IsRead("default", "cred"));

        _kube.OnTryGet = (_, _) => { };
        await AgainAsync();
        Assert.Equal("Added cred 1", Told());
        await _secrets.SettledAsync().WaitAsync(s_patience);

        // What was read holds while it is not answered.
        await PutAsync("cred", "2");
        _kube.OnTryGet = (_, _) => throw new KubeException(code, "No", "no");
        await AgainAsync();
        Assert.True(_secrets.IsRead("default", "cred"));
        _kube.OnTryGet = (_, _) => { };
        await AgainAsync();
        Assert.Equal("Updated cred 2", Told());
    }

    private string Told() => _told.TryTake(out var told, s_patience) ? told : throw new TimeoutException("nothing was told");

    // Reads begin at the timer's beat, on other threads: one is done when the next finds nothing under way.
    private async Task AgainAsync()
    {
        var before = _kube.TryGets;
        var until = DateTime.UtcNow + s_patience;
        for (_time.Advance(s_every * 1.3); _kube.TryGets == before; _time.Advance(TimeSpan.FromSeconds(1)))
        {
            Assert.True(DateTime.UtcNow < until, "nothing was read");
            await Task.Delay(5);
        }
    }

    private async Task PutAsync(string name, string value)
    {
        var secret = new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" }, ["data"] = new JsonObject { ["key"] = value } };
        if (await _kube.TryGetAsync(ResourceKind.Secret, "default", name, CancellationToken.None) is { } old)
        {
            old["data"] = secret["data"]!.DeepClone();
            await _kube.UpdateAsync(ResourceKind.Secret, "default", old, null, CancellationToken.None);
            return;
        }

        await _kube.CreateAsync(ResourceKind.Secret, "default", secret, CancellationToken.None);
    }
}
