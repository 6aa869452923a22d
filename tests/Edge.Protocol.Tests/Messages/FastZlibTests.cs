using System.IO.Compression;
using System.Text;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Tests.Messages;

[Trait("Category", "Unit")]
public sealed class FastZlibTests
{
    private const string Pod = """
        {"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-17","namespace":"default","uid":"3f2b1c7e-9f61-4e0b-8d43-2f6f7a1f7c55","resourceVersion":"48213","creationTimestamp":"2026-11-22T13:12:44Z",
        "annotations":{"bench":"1"},"generation":1},"spec":{"nodeName":"fleet-17","containers":[{"name":"web","image":"example.com/web:1","env":[{"name":"MODE","value":"edge"}],"resources":{},
        "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst",
        "serviceAccountName":"default","serviceAccount":"default","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":
        "NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,
        "preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Pending","qosClass":"BestEffort"}}
        """;

    [Fact]
    public void A_pod_is_read_again_by_zlib_and_is_no_tenth_larger_than_zlibs_own_fastest()
    {
        var pod = Encoding.UTF8.GetBytes(Pod);
        var packed = FastZlib.Compress(pod, pod.Length);
        Assert.Equal(pod, Unpacked(packed, pod.Length));
        using var peer = new MemoryStream();
        using (var zlib = new ZLibStream(peer, CompressionLevel.Fastest, leaveOpen: true))
            zlib.Write(pod);
        Assert.InRange(packed.Length, 1, peer.Length * 11 / 10);
    }

    [Fact]
    public void Every_length_of_match_is_read_again()
    {
        for (var length = 0; length <= 600; length++)
        {
            var input = Encoding.ASCII.GetBytes("abcd-0123456789-" + new string('x', length) + "-abcd-" + new string('x', length / 2));
            Assert.Equal(input, Unpacked(FastZlib.Compress(input, 4096), input.Length));
        }
    }

    [Fact]
    public void Every_distance_of_match_is_read_again()
    {
        // Noise between two occurrences of one word, in which no four bytes come twice soon.
        var random = new Random(7);
        for (var distance = 4; distance < FastZlib.InputMax - 12; distance += distance < 64 ? 1 : distance / 5)
        {
            var input = new byte[distance + 12];
            random.NextBytes(input);
            "wordword"u8.CopyTo(input);
            "wordword"u8.CopyTo(input.AsSpan(distance));
            Assert.Equal(input, Unpacked(FastZlib.Compress(input, 2 * FastZlib.InputMax), input.Length));
        }
    }

    [Fact]
    public void Whatever_is_compressed_is_read_again()
    {
        var random = new Random(42);
        for (var round = 0; round < 4_000; round++)
        {
            // Few letters make long matches, all bytes none; runs make matches that overlap themselves.
            var (letters, run) = (1 + random.Next(round % 3 == 0 ? 256 : 6), 1 + random.Next(20));
            var input = new byte[random.Next(round % 100 == 0 ? FastZlib.InputMax + 1 : 1_500)];
            for (var at = 0; at < input.Length;)
            {
                var one = (byte)(random.Next(letters) * 37);
                for (var end = Math.Min(input.Length, at + 1 + random.Next(run)); at < end; at++)
                    input[at] = one;
            }

            var packed = FastZlib.Compress(input, (input.Length * 9 / 8) + 64);
            Assert.True(input.AsSpan().SequenceEqual(Unpacked(packed, input.Length)), $"round {round}, {input.Length} bytes of {letters} letters");
        }
    }

    [Fact]
    public void What_does_not_get_small_enough_is_left_alone()
    {
        var noise = new byte[2_000];
        new Random(1).NextBytes(noise);
        Assert.Empty(FastZlib.Compress(noise, noise.Length));
        var pod = Encoding.UTF8.GetBytes(Pod);
        var needed = FastZlib.Compress(pod, pod.Length).Length;
        for (var limit = 0; limit <= pod.Length; limit++)
        {
            var packed = FastZlib.Compress(pod, limit);
            Assert.True(packed.Length == 0 || packed.Length == needed);
            Assert.True(packed.Length <= limit);
            Assert.True(packed.Length > 0 || limit < needed + 20, $"{needed} bytes would fit in {limit}");
        }

        Assert.Empty(FastZlib.Compress(new byte[FastZlib.InputMax + 1], FastZlib.InputMax));
    }

    private static byte[] Unpacked(byte[] packed, int length)
    {
        using var zlib = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
        var output = new byte[length];
        zlib.ReadExactly(output);
        Assert.Equal(-1, zlib.ReadByte());
        return output;
    }
}
