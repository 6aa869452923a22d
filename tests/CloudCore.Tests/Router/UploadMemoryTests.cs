using System.Security.Cryptography;
using System.Text;
using Edge.Cloud.Router;

namespace Edge.Cloud.Tests.Router;

[Trait("Category", "Sync")]
public sealed class UploadMemoryTests
{
    private static readonly TargetDone s_taken = new("rule-a", DeliveryOutcome.Taken);
    private static readonly TargetDone s_refused = new("rule-b", DeliveryOutcome.Refused);

    [Fact]
    public void Upload_is_known_by_node_version_and_content_and_without_a_version_by_its_id()
    {
        Assert.Equal(Key("edge-1", 5, id: "m1"), Key("edge-1", 5, id: "m2"));
        Assert.NotEqual(Key("edge-1", 5), Key("edge-2", 5));
        Assert.NotEqual(Key("edge-1", 5), Key("edge-1", 6));
        Assert.NotEqual(Key("edge-1", 5, content: "1"), Key("edge-1", 5, content: "2"));
        Assert.NotEqual(Key("edge-1", 5, topic: "t1"), Key("edge-1", 5, topic: "t2"));
        Assert.NotEqual(Key("edge-1", 0, id: "m1"), Key("edge-1", 0, id: "m2"));
        Assert.Equal("m1", Key("edge-1", 0, id: "m1").ToString());
        // Targets get it from every cloudcore and release: SHA-256.
        Assert.Equal($"edge-1:5:{Convert.ToHexStringLower(SHA256.HashData("t\01"u8))[..8]}", Key("edge-1", 5).ToString());
    }

    [Theory]
    [InlineData(5)]
    [InlineData(0)]
    public void What_was_answered_is_answered_so_again(long version)
    {
        var memory = new UploadMemory();
        Assert.Null(memory.AnswerTo(Key("edge-1", version)));
        memory.Answered(Key("edge-1", version), DeliveryOutcome.Refused);
        memory.Answered(Key("edge-1", version, content: "2"), DeliveryOutcome.Taken);
        Assert.Equal(DeliveryOutcome.Refused, memory.AnswerTo(Key("edge-1", version)));
        Assert.Equal(DeliveryOutcome.Taken, memory.AnswerTo(Key("edge-1", version, content: "2")));
        Assert.Null(memory.AnswerTo(Key("edge-2", version)));
        Assert.Null(memory.AnswerTo(Key("edge-1", version, content: "3")));
    }

    [Fact]
    public void Targets_that_are_done_are_known_until_the_others_are_and_given_out_once()
    {
        var memory = new UploadMemory();
        Assert.Empty(memory.Take(Key("edge-1", 5)));
        memory.Keep(Key("edge-1", 5), [s_taken, s_refused]);
        Assert.Null(memory.AnswerTo(Key("edge-1", 5)));
        Assert.Empty(memory.Take(Key("edge-2", 5)));
        Assert.Equal([s_taken, s_refused], memory.Take(Key("edge-1", 5)));
        Assert.Empty(memory.Take(Key("edge-1", 5)));
        memory.Keep(Key("edge-1", 6), []); // nobody took it
        memory.Keep(Key("edge-1", 0), [s_taken]); // a stock edge does not send it again
        Assert.Equal((0, 0), (memory.Parts, memory.Forgotten));
    }

    [Fact]
    public void Each_node_has_its_last_answers_however_much_the_others_send()
    {
        var memory = new UploadMemory(answersMax: 3);
        memory.Answered(Key("edge-1", 1), DeliveryOutcome.Taken);
        for (var version = 1; version <= 100; version++)
            memory.Answered(Key("edge-2", version), DeliveryOutcome.Taken);
        Assert.NotNull(memory.AnswerTo(Key("edge-1", 1)));
        Assert.Equal([98, 99, 100], Enumerable.Range(1, 100).Where(version => memory.AnswerTo(Key("edge-2", version)) is not null));
    }

    [Fact]
    public void Nodes_and_ids_are_bounded_and_the_oldest_go_first()
    {
        var memory = new UploadMemory(nodesMax: 2, idsMax: 2);
        foreach (var name in (string[])["a", "b", "c"])
        {
            memory.Answered(Key(name, 1), DeliveryOutcome.Taken);
            memory.Answered(Key("stock", 0, id: name), DeliveryOutcome.Taken);
        }

        Assert.Equal([false, true, true], new[] { "a", "b", "c" }.Select(name => memory.AnswerTo(Key(name, 1)) is not null));
        Assert.Equal([false, true, true], new[] { "a", "b", "c" }.Select(name => memory.AnswerTo(Key("stock", 0, id: name)) is not null));
    }

    [Fact]
    public void Of_uploads_that_wait_for_some_of_their_targets_those_go_first_that_were_not_tried_for_longest_and_are_counted()
    {
        var memory = new UploadMemory(partsMax: 3);
        for (var version = 1; version <= 3; version++)
            memory.Keep(Key("edge-1", version), [s_taken]);
        memory.Keep(Key("edge-1", 1), memory.Take(Key("edge-1", 1))); // tried again
        memory.Keep(Key("edge-1", 4), [s_taken]);
        Assert.Equal((3, 1), (memory.Parts, memory.Forgotten));
        Assert.Empty(memory.Take(Key("edge-1", 2)));
        Assert.All([1, 3, 4], version => Assert.Equal([s_taken], memory.Take(Key("edge-1", version))));
        Assert.Equal((0, 1), (memory.Parts, memory.Forgotten));
    }

    private static UploadKey Key(string node, long version, string topic = "t", string content = "1", string id = "m")
        => UploadKey.Of(node, version, id, topic, Encoding.UTF8.GetBytes(content));
}
