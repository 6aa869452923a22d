using Edge.Common.Streaming;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;

namespace Edge.Cloud.Tests;

/// <summary>What is asked of a pod's subresource, in the words that a kubelet knows: an API server's own (pkg/registry/core/pod, streamParams).</summary>
[Trait("Category", "Kubernetes")]
public sealed class KubeletQueryTests
{
    [Theory]
    [InlineData("exec", "command=sh&command=-c&command=a%20b&container=c&stdin=true&stdout=true&stderr=true", "?command=sh&command=-c&command=a%20b&input=1&output=1&error=1")]
    [InlineData("exec", "command=sh&stdin=1&stdout=True&stderr=false&tty=true", "?command=sh&input=1&output=1&tty=1")]
    [InlineData("attach", "stdin=0&stdout=&container=c", "?output=1")]
    [InlineData("attach", "container=c", "")]
    [InlineData("portforward", "ports=80&ports=443", "?port=80%2C443")]
    [InlineData("portforward", "", "")]
    [InlineData("log", "container=c&follow=true&tailLines=3&unknown=1", "?follow=true&tailLines=3")]
    public void Query_is_said_in_the_kubelets_words(string subresource, string query, string expected)
        => Assert.Equal(expected, NodeRelay.KubeletQuery(subresource, new QueryCollection(QueryHelpers.ParseQuery(query))));
}
