using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Edge.Protocol.Grpc;
using Edge.Testing;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Protocol.Tests.Grpc;

/// <summary>Calls that are answered with a stream, on a real socket.</summary>
[Trait("Category", "Unit")]
public sealed class GrpcStreamTests : IDisposable
{
    private const string Follow = "/test.Service/Follow";
    private static readonly TimeSpan s_net = TimeSpan.FromSeconds(30);

    private readonly TempDirectory _directory = new();
    private readonly Channel<string> _words = Channel.CreateUnbounded<string>();
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Each_message_arrives_as_it_is_said_and_the_status_after_the_last()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(_directory.File("s"), TimeProvider.System);
        await using var answers = FollowAsync(channel, default).GetAsyncEnumerator();
        foreach (var word in (string[])["one", "", new string('x', 100_000)])
        {
            var next = answers.MoveNextAsync().AsTask();
            Assert.False(next.IsCompleted && word == "one");
            _words.Writer.TryWrite(word);
            Assert.True(await next.WaitAsync(s_net));
            Assert.Equal(word, answers.Current);
        }

        _words.Writer.TryWrite("fail");
        var e = await Assert.ThrowsAsync<GrpcException>(() => answers.MoveNextAsync().AsTask().WaitAsync(s_net));
        Assert.Equal((GrpcStatusCode.ResourceExhausted, "too many"), (e.Code, e.Detail));
    }

    [Fact]
    public async Task A_stream_ends_with_the_sequence()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(_directory.File("s"), TimeProvider.System);
        _words.Writer.TryWrite("last");
        _words.Writer.Complete();
        var all = new List<string>();
        await foreach (var word in FollowAsync(channel, default))
            all.Add(word);
        Assert.Equal(["last"], all);
    }

    [Fact]
    public async Task A_caller_that_goes_releases_the_handler()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(_directory.File("s"), TimeProvider.System);
        using var stop = new CancellationTokenSource();
        await using var answers = FollowAsync(channel, stop.Token).GetAsyncEnumerator();
        var next = answers.MoveNextAsync().AsTask();
        await _begun.Task.WaitAsync(s_net);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next.WaitAsync(s_net));
        await _released.Task.WaitAsync(s_net);
    }

    [Fact]
    public async Task A_method_that_is_not_there_and_a_server_that_goes_are_told_apart()
    {
        using var channel = new GrpcChannel(_directory.File("s"), TimeProvider.System);
        await using (await StartAsync())
        {
            var unknown = channel.ServerStreamAsync("/test.Service/Other", new StringValue(), StringValue.Parser, default).GetAsyncEnumerator();
            Assert.Equal(GrpcStatusCode.Unimplemented, (await Assert.ThrowsAsync<GrpcException>(() => unknown.MoveNextAsync().AsTask().WaitAsync(s_net))).Code);
            _words.Writer.TryWrite("one");
        }

        await using var answers = FollowAsync(channel, default).GetAsyncEnumerator();
        Assert.Equal(GrpcStatusCode.Unavailable, (await Assert.ThrowsAsync<GrpcException>(() => answers.MoveNextAsync().AsTask().WaitAsync(s_net))).Code);
    }

    private static async IAsyncEnumerable<string> FollowAsync(GrpcChannel channel, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var answer in channel.ServerStreamAsync(Follow, new StringValue { Value = "words" }, StringValue.Parser, cancellationToken))
            yield return answer.Value;
    }

    private Task<GrpcServer> StartAsync()
        => GrpcServer.StartAsync(_directory.File("s"), new GrpcMethods().MapServerStream(Follow, StringValue.Parser, (StringValue _, CancellationToken stop) => SayAsync(stop)), NullLoggerFactory.Instance, default);

    private async IAsyncEnumerable<StringValue> SayAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        _begun.TrySetResult();
        try
        {
            await foreach (var word in _words.Reader.ReadAllAsync(cancellationToken))
                yield return word == "fail" ? throw new GrpcException(GrpcStatusCode.ResourceExhausted, "too many") : new StringValue { Value = word };
        }
        finally
        {
            _released.TrySetResult();
        }
    }
}
